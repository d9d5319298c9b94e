//! Schedules of CronJobs: five fields, a word such as `@daily`, or a period such as `@every 90m`.

use std::ops::RangeInclusive;

use jiff::civil::DateTime;
use jiff::{RoundMode, SignedDuration, Span, Timestamp, ToSpan as _, Unit, Zoned, ZonedRound};

/// When something is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cron {
    /// In every minute that the five fields allow.
    Minutes(Minutes),
    /// Again so long after it was last due; whole seconds, at least one.
    Every(SignedDuration),
}

/// The minutes of local time at which something is due. Months and days of the week may be written as words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minutes {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
}

/// Which way time is walked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Onward,
    Back,
}

/// How far is looked: the longest time without a 29th of February is eight years.
const YEARS_MAX: i16 = 9;

/// What one of the five fields may hold.
struct Field {
    range: RangeInclusive<u32>,
    words: &'static [&'static str],
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const EACH: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl Cron {
    /// Reads a schedule. Errors: what was expected, in the words that Kubernetes' users know.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("empty spec string".into());
        }
        if let Some(period) = text.strip_prefix("@every ") {
            return every(text, period).map(Self::Every);
        }
        let plain = match text.strip_prefix('@') {
            Some(_) => {
                EACH.iter().find(|(word, _)| *word == text).map(|(_, plain)| *plain).ok_or(format!("unrecognized descriptor: {text}"))?
            }
            None => text,
        };
        Minutes::parse(plain).map(Self::Minutes)
    }

    /// When it is due next, later than `after`, in whose time zone the fields are; `None` for a schedule that is never due.
    pub fn next(&self, after: &Zoned) -> Option<Timestamp> {
        match self {
            Self::Minutes(minutes) => minutes.walk(after, Way::Onward),
            Self::Every(period) => after.timestamp().checked_add(*period).ok(),
        }
    }

    /// When it was last due, at `until` at the latest and later than `after`.
    pub fn last(&self, after: Timestamp, until: &Zoned) -> Option<Timestamp> {
        match self {
            Self::Minutes(minutes) => minutes.walk(until, Way::Back).filter(|at| *at > after),
            Self::Every(period) => {
                let periods = until.timestamp().duration_since(after).as_secs().checked_div(period.as_secs())?;
                let passed = SignedDuration::from_secs(periods.checked_mul(period.as_secs())?);
                (periods > 0).then(|| after.checked_add(passed).ok())?
            }
        }
    }
}

/// Reads a period as Go writes it: `90s`, `1h30m`, `1.5h`. What is not a whole second is left out, and less than one is one.
fn every(text: &str, period: &str) -> Result<SignedDuration, String> {
    let refuse = || format!("failed to parse duration {text}: time: invalid duration {period:?}");
    if !period.ends_with(|end: char| end.is_ascii_alphabetic()) || period.contains(|c: char| !c.is_ascii_digit() && !".hmsunµ".contains(c))
    {
        return Err(refuse());
    }
    let period: SignedDuration = period.parse().map_err(|_| refuse())?;
    Ok(SignedDuration::from_secs(period.as_secs().max(1)))
}

impl Minutes {
    fn parse(plain: &str) -> Result<Self, String> {
        let parts: Vec<&str> = plain.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = parts.as_slice() else {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", parts.len(), parts.join(" ")));
        };
        let field = |range, words| Field { range, words };
        Ok(Self {
            minutes: field(0..=59, &[]).bits(minutes)?,
            hours: field(0..=23, &[]).bits(hours)?,
            days: field(1..=31, &[]).bits(days)?,
            months: field(1..=12, &MONTHS).bits(months)?,
            weekdays: field(0..=6, &WEEKDAYS).bits(weekdays)?,
            any_day: is_any(days),
            any_weekday: is_any(weekdays),
        })
    }

    fn is_on_day(&self, at: DateTime) -> bool {
        let day = has(self.days, at.day());
        let weekday = has(self.weekdays, at.weekday().to_sunday_zero_offset());
        if self.any_day || self.any_weekday { day && weekday } else { day || weekday }
    }

    /// The nearest minute that is due: after `from`, or, walking back, at `from` or before. Minutes pass as they do for people: a time
    /// that clocks skip is never due, and one that they show twice is due twice.
    fn walk(&self, from: &Zoned, way: Way) -> Option<Timestamp> {
        let mut at = from.round(ZonedRound::new().smallest(Unit::Minute).mode(RoundMode::Trunc)).ok()?;
        if way == Way::Onward {
            at = way.minute(&at)?;
        }
        let years = from.year().checked_sub(YEARS_MAX)?..=from.year().checked_add(YEARS_MAX)?;
        while years.contains(&at.year()) {
            let local = at.datetime();
            if !has(self.months, local.month()) {
                at = way.month(&at)?;
            } else if !self.is_on_day(local) {
                at = way.day(&at)?;
            } else if !has(self.hours, local.hour()) {
                at = way.hour(&at)?;
            } else if !has(self.minutes, local.minute()) {
                at = way.minute(&at)?;
            } else {
                return Some(at.timestamp());
            }
        }
        None
    }
}

impl Way {
    fn minute(self, at: &Zoned) -> Option<Zoned> {
        self.step(at, 1.minute())
    }

    /// The first minute of the next hour, or the last of the one before.
    fn hour(self, at: &Zoned) -> Option<Zoned> {
        let minutes = if self == Self::Onward { 60 - at.minute() } else { at.minute() + 1 };
        self.step(at, i64::from(minutes).minutes())
    }

    /// The first minute of the next day, or the last of the one before.
    fn day(self, at: &Zoned) -> Option<Zoned> {
        self.beside(&at.start_of_day().ok()?, at.tomorrow().ok()?.start_of_day().ok()?)
    }

    fn month(self, at: &Zoned) -> Option<Zoned> {
        let first = at.first_of_month().ok()?.start_of_day().ok()?;
        let following = first.checked_add(1.month()).ok()?.start_of_day().ok()?;
        self.beside(&first, following)
    }

    fn beside(self, first: &Zoned, following: Zoned) -> Option<Zoned> {
        match self {
            Self::Onward => Some(following),
            Self::Back => self.step(first, 1.minute()),
        }
    }

    fn step(self, at: &Zoned, by: Span) -> Option<Zoned> {
        match self {
            Self::Onward => at.checked_add(by).ok(),
            Self::Back => at.checked_sub(by).ok(),
        }
    }
}

fn has(bits: u64, number: i8) -> bool {
    u32::try_from(number).is_ok_and(|number| bits >> number & 1 == 1)
}

fn is_any(text: &str) -> bool {
    text.split(',').any(|part| matches!(part.split('/').next(), Some("*" | "?")))
}

impl Field {
    fn bits(&self, text: &str) -> Result<u64, String> {
        let parts = text.split(',').filter(|part| !part.is_empty()).map(|part| self.part(part));
        parts.collect::<Result<Vec<_>, _>>().map(|all| all.into_iter().fold(0, |all, bits| all | bits))
    }

    /// `*`, `3`, `1-5`, `mon-fri`, each also with `/2`.
    fn part(&self, text: &str) -> Result<u64, String> {
        let (range, step) = text.split_once('/').map_or((text, None), |(range, step)| (range, Some(step)));
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (self.number(first)?, self.number(last)?),
            None if range == "*" || range == "?" => (*self.range.start(), *self.range.end()),
            None => {
                let first = self.number(range)?;
                (first, if step.is_some() { *self.range.end() } else { first })
            }
        };
        let step = step.map_or(Ok(1), plain_number)?;
        if first < *self.range.start() {
            return Err(format!("beginning of range ({first}) below minimum ({}): {text}", self.range.start()));
        }
        if last > *self.range.end() {
            return Err(format!("end of range ({last}) above maximum ({}): {text}", self.range.end()));
        }
        if first > last {
            return Err(format!("beginning of range ({first}) beyond end of range ({last}): {text}"));
        }
        if step == 0 {
            return Err(format!("step of range should be a positive number: {text}"));
        }
        let step = usize::try_from(step).unwrap_or(usize::MAX);
        Ok((first..=last).step_by(step).fold(0, |bits, number| bits | 1_u64 << number))
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        let word = text.to_lowercase();
        match self.words.iter().position(|known| *known == word) {
            Some(at) => Ok(self.range.start() + u32::try_from(at).unwrap_or_default()),
            None => plain_number(text),
        }
    }
}

fn plain_number(text: &str) -> Result<u32, String> {
    if text.starts_with('-') {
        return Err(format!("negative number ({text}) not allowed: {text}"));
    }
    let why = if text.parse::<u64>().is_ok() { "value out of range" } else { "invalid syntax" };
    text.parse().map_err(|_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zoned(local: &str, zone: &str) -> Zoned {
        local.parse::<DateTime>().unwrap().in_tz(zone).unwrap()
    }

    /// The next times as clocks in the zone show them.
    fn times(schedule: &str, after: &str, zone: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(schedule).unwrap();
        let mut at = zoned(after, zone);
        let mut found = Vec::new();
        while let (true, Some(next)) = (found.len() < count, cron.next(&at)) {
            at = next.to_zoned(at.time_zone().clone());
            found.push(at.strftime("%Y-%m-%dT%H:%M%:z").to_string().trim_end_matches("+00:00").to_owned());
        }
        found
    }

    #[test]
    fn schedules_are_due_when_their_fields_say_so() {
        for (schedule, after, expected) in [
            ("0 0 * * *", "2026-01-02T00:00", ["2026-01-03T00:00", "2026-01-04T00:00"]),
            ("0 0 * * *", "2026-01-01T23:59:59.5", ["2026-01-02T00:00", "2026-01-03T00:00"]),
            ("*/15 9-17 * * mon-fri", "2026-01-02T17:40", ["2026-01-02T17:45", "2026-01-05T09:00"]),
            ("5/20 * * JAN,feb *", "2026-02-28T23:30", ["2026-02-28T23:45", "2027-01-01T00:05"]),
            ("0 0 13 * 5", "2026-01-02T00:00", ["2026-01-09T00:00", "2026-01-13T00:00"]),
            ("0 0 */2 * 5", "2026-01-01T00:00", ["2026-01-09T00:00", "2026-01-23T00:00"]),
            ("@weekly", "2026-01-01T00:00", ["2026-01-04T00:00", "2026-01-11T00:00"]),
            ("0 12 29 2 *", "2096-03-01T00:00", ["2104-02-29T12:00", "2108-02-29T12:00"]),
            ("@every 1h30m", "2026-01-01T00:00:07", ["2026-01-01T01:30", "2026-01-01T03:00"]),
        ] {
            assert_eq!(times(schedule, after, "UTC", 2), expected, "{schedule} after {after}");
        }
        for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
            assert_eq!(times(never, "2026-01-01T00:00", "UTC", 1), [""; 0], "{never}");
        }
    }

    #[test]
    fn times_that_clocks_skip_are_not_due_and_those_they_show_twice_are_due_twice() {
        let berlin = |schedule, after, count| times(schedule, after, "Europe/Berlin", count);
        assert_eq!(berlin("30 2 * * *", "2026-03-28T12:00", 1), ["2026-03-30T02:30+02:00"]);
        assert_eq!(berlin("30 2 * * *", "2026-10-24T12:00", 2), ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00"]);
        assert_eq!(berlin("0 * * * *", "2026-03-29T01:30", 2), ["2026-03-29T03:00+02:00", "2026-03-29T04:00+02:00"]);
        // Midnight itself is skipped there.
        assert_eq!(times("0 0,1 * * *", "2026-09-05T12:00", "America/Santiago", 1), ["2026-09-06T01:00-03:00"]);
    }

    #[test]
    fn walking_back_finds_what_walking_onward_passed_last() {
        for schedule in ["*/7 3 * * *", "0 0 13 * 5", "15 2 28-31 2,3 *", "30 2 * * sun", "@every 90m"] {
            let cron = Cron::parse(schedule).unwrap();
            let begin = zoned("2026-02-20T10:11:12", "Europe/Berlin");
            let (mut at, mut last) = (begin.clone(), None);
            for hours in (1..2_000).step_by(7) {
                let until = begin.checked_add(hours.hours()).unwrap();
                while let Some(next) = cron.next(&at).filter(|next| *next <= until.timestamp()) {
                    (last, at) = (Some(next), next.to_zoned(begin.time_zone().clone()));
                }
                assert_eq!(cron.last(begin.timestamp(), &until), last, "{schedule} until {until}");
            }
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (schedule, expected) in [
            ("", "empty spec string"),
            ("* * *", "expected exactly 5 fields, found 3: [* * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-2 * * * *", "beginning of range (5) beyond end of range (2): 5-2"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("a * * * *", "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax"),
            ("@often", "unrecognized descriptor: @often"),
            ("@every", "unrecognized descriptor: @every"),
            ("@every soon", "failed to parse duration @every soon: time: invalid duration \"soon\""),
            ("@every 5", "failed to parse duration @every 5: time: invalid duration \"5\""),
            ("@every -5m", "failed to parse duration @every -5m: time: invalid duration \"-5m\""),
        ] {
            assert_eq!(Cron::parse(schedule).unwrap_err(), expected);
        }
    }
}
