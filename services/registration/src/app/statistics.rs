//! Counts of decisions, by day, week, month or year.

use std::collections::BTreeMap;

use publica_proto::registration::v1 as pb;
use publica_rpc::Invalid;
use publica_types::Timestamp;

use crate::app::{App, Who, day_number, day_text, is_findable};
use crate::domain::form::is_day;
use crate::error::Error;
use crate::store::{catalog, task as tasks};

/// The days that can be named: within them a range without bounds is searched too.
const FIRST_DAY: i64 = 0;
const LAST_DAY: i64 = 376_199;

/// The most rows of an answer.
const MAX_BUCKETS: usize = 5_000;

fn parse_day(text: &str) -> Option<i64> {
    if !is_day(text) {
        return None;
    }
    let time: Timestamp = format!("{text}T00:00:00Z").parse().ok()?;
    Some(day_number(time))
}

fn text_of(day: i64) -> String {
    day_text(Timestamp::from_micros(day.saturating_mul(86_400_000_000)))
}

/// First and last day of the bucket that a day is in. Weeks begin on Monday.
fn bucket(day: i64, timeframe: &str) -> (i64, i64) {
    let text = text_of(day);
    let parse = |text: &str| parse_day(text).unwrap_or(day);
    match timeframe {
        "day" => (day, day),
        "week" => {
            // 1970-01-01 was a Thursday.
            let first = day - (day + 3).rem_euclid(7);
            (first, first + 6)
        }
        "month" => {
            let first = parse(&format!("{}-01", &text[..7]));
            let last = (28..=31)
                .rev()
                .find_map(|last| parse_day(&format!("{}-{last}", &text[..7])))
                .unwrap_or(day);
            (first, last)
        }
        _ => (
            parse(&format!("{}-01-01", &text[..4])),
            parse(&format!("{}-12-31", &text[..4])),
        ),
    }
}

/// Counts of approvals, send-backs and refusals by first and last day.
type Rows = BTreeMap<(i64, i64), [i64; 3]>;

/// The rows that are there whatever happened: one for the whole range, or one a bucket of a
/// range that is bounded.
fn empty_rows(request: &pb::GetStatisticsRequest, first: i64, last: i64) -> Result<Rows, Error> {
    let mut rows = Rows::new();
    let timeframe = request.timeframe.as_str();
    if timeframe.is_empty() {
        rows.insert((first, last), [0; 3]);
    } else if !request.start_date.is_empty() && !request.end_date.is_empty() {
        let mut day = first;
        while day <= last {
            if rows.len() == MAX_BUCKETS {
                let text = format!("at most {MAX_BUCKETS} of them are told at once");
                return Err(publica_rpc::invalid("timeframe", text).into());
            }
            let end = bucket(day, timeframe).1.min(last);
            rows.insert((day, end), [0; 3]);
            day = end + 1;
        }
    }
    Ok(rows)
}

impl App {
    fn today_number(&self) -> i64 {
        day_number(self.clock.now())
    }

    pub(crate) async fn get_statistics(
        &self,
        who: &Who,
        request: pb::GetStatisticsRequest,
    ) -> Result<pb::GetStatisticsResponse, Error> {
        let mut invalid = Invalid::new();
        let mut bound = |field: &str, text: &str, open: i64| match text {
            "" => open,
            text => parse_day(text).unwrap_or_else(|| {
                invalid.push(field, "must be a day as YYYY-MM-DD");
                open
            }),
        };
        let first = bound("start_date", &request.start_date, FIRST_DAY);
        let last = bound("end_date", &request.end_date, LAST_DAY);
        if first > last {
            invalid.push("start_date", "must not be after end_date");
        }
        let timeframe = request.timeframe.as_str();
        if !["", "day", "week", "month", "year"].contains(&timeframe) {
            invalid.push("timeframe", "must be day, week, month or year");
        }
        invalid.check()?;
        let db = self.db(&who.origin).await?;
        let name = &request.registration_name;
        if !is_findable(name) {
            return Err(Error::not_found("registration"));
        }
        if !name.is_empty() && !catalog::is_named(&db, name).await? {
            return Err(Error::not_found("registration"));
        }
        let (operator, role) = (&request.operator, &request.role);
        let counts = match is_findable(operator) && is_findable(role) {
            true => tasks::statistics(&db, (first, last), name, operator, role).await?,
            false => Vec::new(),
        };
        let mut rows = empty_rows(&request, first, last)?;
        for (day, outcome, count) in counts {
            let key = match timeframe {
                "" => (first, last),
                timeframe => {
                    let (start, end) = bucket(day, timeframe);
                    (start.max(first), end.min(last))
                }
            };
            let place = usize::try_from(outcome - 1).unwrap_or_default().min(2);
            rows.entry(key).or_default()[place] += count;
        }
        let bounded = |day: i64, text: &str| match timeframe {
            "" => text.to_owned(),
            _ => text_of(day),
        };
        if rows.is_empty() {
            // Without bounds there are no buckets before the first decision.
            rows.insert((self.today_number(), self.today_number()), [0; 3]);
        }
        let rows = rows
            .into_iter()
            .map(
                |((start, end), [approved, sent_back, rejected])| pb::StatisticsRow {
                    start_date: bounded(start, &request.start_date),
                    end_date: bounded(end, &request.end_date),
                    approved,
                    sent_back,
                    rejected,
                },
            )
            .collect();
        Ok(pb::GetStatisticsResponse { rows })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_their_days() {
        let day = parse_day("2024-02-29").unwrap();
        let named = |timeframe| {
            let (first, last) = bucket(day, timeframe);
            (text_of(first), text_of(last))
        };
        assert_eq!(named("day"), ("2024-02-29".into(), "2024-02-29".into()));
        assert_eq!(named("week"), ("2024-02-26".into(), "2024-03-03".into()));
        assert_eq!(named("month"), ("2024-02-01".into(), "2024-02-29".into()));
        assert_eq!(named("year"), ("2024-01-01".into(), "2024-12-31".into()));
        assert_eq!(parse_day("2023-02-29"), None);
    }
}
