//! Lists of application files.

use std::collections::BTreeMap;

use publica_journal::Entry;
use publica_proto::registration::v1 as pb;
use publica_rpc::Invalid;
use publica_store::Db;
use serde_json::json;

use super::{Content, message};
use crate::app::{App, Who, is_findable, subject};
use crate::error::Error;
use crate::store::Window;
use crate::store::file::FileRow;
use crate::store::file_list::{self, Filter, Key, Order};
use crate::store::task as tasks;

impl App {
    pub(crate) async fn list_applications(
        &self,
        who: &Who,
        request: pb::ListApplicationsRequest,
    ) -> Result<pb::ListApplicationsResponse, Error> {
        let window = window(request.first_result, request.max_result)?;
        let order = match sorting(&request.sort_by, &request.sort_order)? {
            (None, descending) if request.sort_by.is_empty() && descending => Order::Newest,
            (None, descending) => Order::Created { descending },
            (Some(key), descending) => Order::Key { key, descending },
        };
        let empty = Ok(pb::ListApplicationsResponse::default());
        if !is_findable(&request.service_id) || !is_findable(&request.applicant_id) {
            return empty;
        }
        let roles = who.sees_files_of();
        // Somebody without a role has files of their own only.
        let own = roles.as_ref().is_some_and(Vec::is_empty);
        if own && !request.applicant_id.is_empty() && request.applicant_id != who.party() {
            return empty;
        }
        let filter = Filter {
            service_id: &request.service_id,
            applicant_id: if own {
                who.party()
            } else {
                &request.applicant_id
            },
            state: i64::from(request.state),
            party: who.party(),
            roles: roles.as_deref(),
        };
        let db = self.db(&who.origin).await?;
        let (rows, total) = file_list::list(&db, filter, order, window).await?;
        if rows.is_empty() {
            let total_size = total;
            return Ok(pb::ListApplicationsResponse {
                applications: Vec::new(),
                total_size,
            });
        }
        let applications = self.items(&db, &rows).await?;
        let entry = Entry::new("registration.files.listed").body(json!({"files": rows.len()}));
        self.journal.record(&who.origin, entry).await?;
        Ok(pb::ListApplicationsResponse {
            applications,
            total_size: total,
        })
    }

    /// Files as a list shows them: with their open task, name and documents, without form data.
    async fn items(&self, db: &Db, rows: &[FileRow]) -> Result<Vec<pb::Application>, Error> {
        let subjects: Vec<String> = rows.iter().map(|row| subject(&row.applicant_id)).collect();
        let mut distinct: Vec<&str> = subjects.iter().map(String::as_str).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let keys = self.keyring.load_many(db, &distinct).await?;
        let ids: Vec<&str> = rows.iter().map(|row| row.file_id.as_str()).collect();
        let open = tasks::open_of_files(db, &ids).await?;
        let open: BTreeMap<&str, &tasks::TaskRow> = open
            .iter()
            .map(|task| (task.file_id.as_str(), task))
            .collect();
        rows.iter()
            .zip(&subjects)
            .map(|(row, subject)| {
                // Of somebody who was erased only the row is left.
                let content = match keys.get(subject) {
                    Some(key) => Content::open(key, &row.sealed)?,
                    None => Content::default(),
                };
                let content = Content {
                    data: serde_json::Map::new(),
                    ..content
                };
                Ok(message(
                    row,
                    &content,
                    open.get(row.file_id.as_str()).copied(),
                ))
            })
            .collect()
    }
}

/// The published paging: rows left out at the start, and a page of at most 500.
pub(crate) fn window(first: i32, most: i32) -> Result<Window, Error> {
    let mut invalid = Invalid::new();
    if first < 0 {
        invalid.push("first_result", "must not be negative");
    }
    if !(0..=500).contains(&most) {
        invalid.push("max_result", "must be 0 to 500");
    }
    invalid.check()?;
    Ok(Window {
        limit: if most == 0 { 50 } else { i64::from(most) },
        offset: i64::from(first),
    })
}

/// A published sort key and whether the order is descending; no key means the time of creation.
/// Keys of a process engine that this block has not mean what stands nearest: its instances are
/// files and tasks, and of due dates, priorities and descriptions there are none to sort by.
pub(crate) fn sorting(sort_by: &str, order: &str) -> Result<(Option<Key>, bool), Error> {
    let mut invalid = Invalid::new();
    let key = match sort_by {
        "" | "created" | "dueDate" | "priority" | "description" => None,
        "id" | "instanceId" | "caseInstanceId" | "executionId" | "caseExecutionId" => Some(Key::Id),
        "name" => Some(Key::Name),
        "nameCaseInsensitive" => Some(Key::NameCaseInsensitive),
        "assignee" => Some(Key::Assignee),
        _ => {
            invalid.push("sort_by", "is no published sort key");
            None
        }
    };
    if !["", "asc", "desc"].contains(&order) {
        invalid.push("sort_order", "must be asc or desc");
    }
    invalid.check()?;
    // Without a key the newest come first; with one, ascending is usual.
    let descending = match order {
        "" => sort_by.is_empty(),
        order => order == "desc",
    };
    Ok((key, descending))
}
