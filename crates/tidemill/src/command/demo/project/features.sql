-- One row for each flight that arrived, with what is known before it departs. Numbers are of one type, whatever is missing in a window,
-- so that models of different months take the same requests.
select
  f.year || '-' || f.month || '-' || f.day || '-' || f.carrier || f.flight || '-' || f.origin || '-' || f.sched_dep_time as flight_id,
  f.time_hour as sched_dep,
  f.carrier,
  f.origin,
  f.dest,
  cast(f.distance as double) as distance,
  cast(f.hour as double) as hour,
  cast(f.minute as double) as minute,
  cast(extract(dow from f.time_hour) as double) as weekday,
  cast(f.sched_arr_time / 100 as double) as arrival_hour,
  cast(t.departures as double) as departures,
  cast(${earlier} as double) as earlier_delay,
  cast(w.temp as double) as temp,
  cast(w.dewp as double) as dewp,
  cast(w.humid as double) as humid,
  cast(w.wind_speed as double) as wind_speed,
  cast(w.precip as double) as precip,
  cast(w.pressure as double) as pressure,
  cast(w.visib as double) as visib,
  cast(f.year - p.year as double) as plane_age,
  cast(p.seats as double) as seats,
  p.manufacturer,
  -- Minutes after the hour of departure at which it is on the ground, about 20 of them for taxiing.
  cast(f.minute + f.dep_delay + f.air_time + 20 as bigint) as known_after,
  cast(case when f.arr_delay > 30 then 1 else 0 end as bigint) as late
from flights f
left join weather w on w.origin = f.origin and w.time_hour = f.time_hour
left join planes p on p.tailnum = f.tailnum
left join traffic t on t.origin = f.origin and t.time_hour = f.time_hour
-- Two hours earlier: what is known of it when this hour begins.
left join traffic e on e.origin = f.origin and e.time_hour = f.time_hour - interval '2 hours'
where f.arr_delay is not null
  and f.time_hour >= '${from}' and f.time_hour < '${to}'
  -- The same flights on every machine.
  and (f.flight * 7919 + f.day * 104729 + f.sched_dep_time * 31) % 100 < ${share}
order by f.time_hour, f.origin, f.carrier, f.flight, f.sched_dep_time, f.dest
