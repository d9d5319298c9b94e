//! Schedules of CronJobs: five fields or a word such as `@daily`.

use std::ops::RangeInclusive;

/// The minutes at which something is due. Months and days of the week may be written as words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
}

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
        let plain = match text.strip_prefix('@') {
            Some(_) => {
                EACH.iter().find(|(word, _)| *word == text).map(|(_, plain)| *plain).ok_or(format!("unrecognized descriptor: {text}"))?
            }
            None => text,
        };
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

    /// Whether something is due in this minute of local time.
    pub fn is_due(&self, at: jiff::civil::DateTime) -> bool {
        let has = |bits: u64, number: i8| u32::try_from(number).is_ok_and(|number| bits >> number & 1 == 1);
        let day = has(self.days, at.day());
        let weekday = has(self.weekdays, at.weekday().to_sunday_zero_offset());
        let on_day = if self.any_day || self.any_weekday { day && weekday } else { day || weekday };
        has(self.minutes, at.minute()) && has(self.hours, at.hour()) && has(self.months, at.month()) && on_day
    }
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

    #[test]
    fn schedules_are_due_when_their_fields_say_so() {
        for (schedule, at, due) in [
            ("0 0 * * *", "2026-01-02T00:00", true),
            ("0 0 * * *", "2026-01-02T00:01", false),
            ("*/15 9-17 * * mon-fri", "2026-01-02T09:45", true),
            ("*/15 9-17 * * mon-fri", "2026-01-03T09:45", false),
            ("5/20 * * JAN,feb *", "2026-01-03T09:45", true),
            ("0 0 13 * 5", "2026-01-02T00:00", true),
            ("0 0 13 * 5", "2026-01-13T00:00", true),
            ("0 0 */2 * 5", "2026-01-02T00:00", false),
            ("@weekly", "2026-01-04T00:00", true),
        ] {
            let at = format!("{at}:00").parse().unwrap();
            assert_eq!(Cron::parse(schedule).unwrap().is_due(at), due, "{schedule} {at}");
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
        ] {
            assert_eq!(Cron::parse(schedule).unwrap_err(), expected);
        }
    }
}
