-- One row for each flight that arrived, with what is known before it departs.
-- dep_time, dep_delay, arr_time, arr_delay and air_time are known only afterwards: they are not features.
select
  f.year || '-' || f.month || '-' || f.day || '-' || f.carrier || f.flight || '-' || f.origin || '-' || f.sched_dep_time as flight_id,
  f.time_hour as sched_dep,
  f.carrier,
  f.origin,
  f.dest,
  f.distance,
  f.hour,
  f.minute,
  extract(dow from f.time_hour) as weekday,
  (f.sched_arr_time / 100) as arrival_hour,
  t.departures,
  earlier.mean_delay as earlier_delay,
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
left join traffic t on t.origin = f.origin and t.time_hour = f.time_hour
-- Two hours earlier: what is known of it when this hour begins.
left join traffic earlier on earlier.origin = f.origin and earlier.time_hour = f.time_hour - interval '2 hours'
where f.arr_delay is not null
  and f.time_hour >= '${from}' and f.time_hour < '${to}'
order by f.time_hour, f.origin, f.carrier, f.flight, f.sched_dep_time, f.dest
