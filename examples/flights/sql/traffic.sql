-- Scheduled departures of each airport in each hour.
select origin, time_hour, count(*) as departures
from flights
group by origin, time_hour
order by time_hour, origin
