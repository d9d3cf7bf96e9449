-- Features of each flight that arrived, from the flight, the weather at its departure and its plane.
select
  f.time_hour as sched_dep,
  f.carrier,
  f.flight,
  f.origin,
  f.dest,
  f.sched_dep_time,
  f.distance,
  f.hour,
  f.minute,
  w.temp,
  w.dewp,
  w.humid,
  w.wind_speed,
  w.precip,
  w.pressure,
  w.visib,
  f.year - p.year as plane_age,
  p.seats,
  p.manufacturer,
  case when f.arr_delay > 30 then 1 else 0 end as late
from flights f
left join weather w on w.origin = f.origin and w.time_hour = f.time_hour
left join planes p on p.tailnum = f.tailnum
where f.arr_delay is not null
order by f.time_hour, f.origin, f.carrier, f.flight, f.sched_dep_time, f.dest
