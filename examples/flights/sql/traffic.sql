-- Scheduled departures of each airport in each hour, and how late they left, as far as that is known when the next hour
-- is over: a flight that has not left 60 minutes after its time counts as 60 minutes late.
select
  origin,
  time_hour,
  count(*) as departures,
  avg(least(dep_delay, 60)) as mean_delay
from flights
group by origin, time_hour
order by time_hour, origin
