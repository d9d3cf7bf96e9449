//! Hours of the week in a time zone.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Days in the order of the week.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// Minutes of a day.
const DAY: u16 = 1_440;

/// Hours of days of the week, by the clocks of a time zone: `Mon-Thu 09:00-16:00 Europe/Prague`.
///
/// Hours that end before they begin end on the next day. Whether there is such a time zone is for those to say who know time zones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// On which days it begins, from Monday on.
    pub days: [bool; 7],
    /// The minute of the day from which on it is open.
    pub from: u16,
    /// The minute before which it is open, counted from the same day; more than a day's where it ends on the next.
    pub until: u16,
    /// The name of the time zone.
    pub zone: String,
}

impl Window {
    /// Whether clocks that show this minute of this day, from Monday as 0, are in it.
    pub fn holds(&self, day: usize, minute: u16) -> bool {
        let is_in = |day: usize, minute: u16| self.days[day % 7] && (self.from..self.until).contains(&minute);
        is_in(day, minute) || is_in(day + 6, minute + DAY)
    }
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{text}` are no hours of a week: {why}");
        let mut words = text.split_whitespace().peekable();
        let days = words.next_if(|word| word.starts_with(|letter: char| letter.is_ascii_alphabetic()));
        let days = days.map_or(Ok([true; 7]), days_of).map_err(|why| wrong(&why))?;
        let hours = words.next().ok_or_else(|| wrong("the hours are missing, as in `09:00-16:00`"))?;
        let (from, until) = hours.split_once('-').ok_or_else(|| wrong("hours are written `09:00-16:00`"))?;
        let minute =
            |text: &str| minute(text).ok_or_else(|| wrong(&format!("`{text}` is no time of the day")));
        let (from, until) = (minute(from)?, minute(until)?);
        if from == until || from == DAY {
            return Err(wrong("they are over when they begin"));
        }
        let until = if until < from { until + DAY } else { until };
        let zone = words.next().unwrap_or("UTC").to_owned();
        match words.next() {
            Some(more) => Err(wrong(&format!("`{more}` is too much"))),
            None => Ok(Self { days, from, until, zone }),
        }
    }
}

/// `Mon-Thu`, `Sat-Mon`, `Mon,Wed,Fri`.
fn days_of(text: &str) -> Result<[bool; 7], String> {
    let day = |name: &str| {
        DAYS.iter()
            .position(|day| day.eq_ignore_ascii_case(name))
            .ok_or_else(|| format!("`{name}` is no day; days are {}", DAYS.join(", ")))
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        for step in 0..=(last + 7 - first) % 7 {
            days[(first + step) % 7] = true;
        }
    }
    Ok(days)
}

fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| {
        let is_two = text.len() == 2 && text.bytes().all(|digit| digit.is_ascii_digit());
        is_two.then(|| text.parse::<u16>().ok())?
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= DAY).then_some(minute)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<&str> =
            DAYS.into_iter().zip(self.days).filter(|(_, is)| *is).map(|(day, _)| day).collect();
        if named.len() < 7 {
            // Days in a row are written as they are read by most.
            let first = (0..7).find(|at| self.days[*at] && !self.days[(at + 6) % 7]).unwrap_or_default();
            let is_row = (0..named.len()).all(|step| self.days[(first + step) % 7]);
            match named.len() {
                0..=2 => write!(f, "{} ", named.join(","))?,
                count if is_row => write!(f, "{}-{} ", DAYS[first], DAYS[(first + count - 1) % 7])?,
                _ => write!(f, "{} ", named.join(","))?,
            }
        }
        let until = if self.until > DAY { self.until - DAY } else { self.until };
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        write!(f, "{}-{} {}", clock(self.from), clock(until), self.zone)
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Window {
    fn schema_name() -> Cow<'static, str> {
        "Window".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^([A-Za-z,-]+ +)?[0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2}( +[A-Za-z0-9_/+-]+)?$",
            "description": "Hours of days of the week, by the clocks of a time zone: `Mon-Thu 09:00-16:00 Europe/Prague`. All days where \
                none are named, UTC where no zone is; hours that end before they begin end on the next day.",
            "x-tidemill": "window"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_as_people_write_them() {
        for (text, shown) in [
            ("Mon-Thu 09:00-16:00 Europe/Prague", "Mon-Thu 09:00-16:00 Europe/Prague"),
            ("09:00-16:00", "09:00-16:00 UTC"),
            ("Mon-Sun 00:00-24:00 UTC", "00:00-24:00 UTC"),
            ("mon,WED,Fri 08:30-09:00", "Mon,Wed,Fri 08:30-09:00 UTC"),
            ("Sat-Mon 00:00-01:00", "Sat-Mon 00:00-01:00 UTC"),
            ("Fri 22:00-02:00  Asia/Tokyo", "Fri 22:00-02:00 Asia/Tokyo"),
            ("Mon-Tue,Thu 22:00-00:00", "Mon,Tue,Thu 22:00-24:00 UTC"),
        ] {
            let window: Window = text.parse().unwrap();
            assert_eq!(window.to_string(), shown);
            assert_eq!(shown.parse::<Window>().unwrap(), window, "{shown}");
        }
        for (wrong, why) in [
            ("", "the hours are missing"),
            ("Mon-Thu", "the hours are missing"),
            ("Mon-Thy 09:00-16:00", "`Thy` is no day; days are Mon, Tue"),
            ("Mon 9:00-16:00", "`9:00` is no time of the day"),
            ("Mon 09:00-24:01", "`24:01` is no time of the day"),
            ("Mon 09:60-10:00", "`09:60` is no time of the day"),
            ("Mon 09:00", "hours are written"),
            ("Mon 09:00-09:00", "over when they begin"),
            ("Mon 09:00-10:00 UTC now", "`now` is too much"),
        ] {
            let found = wrong.parse::<Window>().unwrap_err();
            assert!(found.contains(why), "{wrong}: {found}");
        }
    }

    #[test]
    fn what_ends_on_the_next_day_belongs_to_the_day_on_which_it_began() {
        let night: Window = "Sun 22:00-02:00".parse().unwrap();
        for (day, minute, is) in [
            (6, 1_319, false),
            (6, 1_320, true),
            (0, 0, true),
            (0, 119, true),
            (0, 120, false),
            (1, 0, false),
        ] {
            assert_eq!(night.holds(day, minute), is, "{day} {minute}");
        }
    }
}
