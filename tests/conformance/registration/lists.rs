//! Lists of files and tasks: who sees what, in which order, and by which pages.

use super::*;

fn ids(list: &Value, member: &str) -> Vec<String> {
    let items = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    items.iter().map(|item| text(&item[member])).collect()
}

both_engines! {
    async fn files(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        suite.publish(&support()).await;
        suite.publish(&simple()).await;
        assert_eq!(suite.get("/applications").await.ok(), json!([]));
        let one = suite.submit("p1", 500).await;
        let sent = json!({"applicantId": "p2", "created": "1999-01-01T00:00:00Z"});
        let two = suite.post("/services/simple/applications", &sent).await.ok();
        let three = suite.submit("p1", 50).await;
        let [one, two, three] = [one, two, three].map(|file| text(&file["fileId"]));
        let mut by_id = [&one, &two, &three];
        by_id.sort_unstable();
        let [first, second, third] = by_id;
        let (low, high) = if one < three { (&one, &three) } else { (&three, &one) };
        let all = suite.get("/applications").await.ok();
        assert_eq!(ids(&all, "fileId"), [three.clone(), two.clone(), one.clone()]);
        let item = &all[2];
        assert_eq!(names(item), ["applicantId", "created", "description", "documentUrls",
            "eformId", "fileId", "mainTaskId", "registered", "roleId", "roleName", "serviceId",
            "serviceName", "status", "taskTitle"]);
        assert_eq!(item["description"], "Amya Yuko");
        assert_eq!(item["roleId"], "clerk");
        assert_eq!(item["eformId"], "household-form");
        assert_eq!(item["status"], json!({"code": "PENDING", "title": "Pending"}));
        for (query, expected) in [
            ("applicantId=p1", vec![&three, &one]),
            ("serviceId=simple", vec![&two]),
            ("serviceId=support&applicantId=p1", vec![&three, &one]),
            ("serviceId=simple&applicantId=p1", vec![]),
            ("applicantId=none", vec![]),
            ("sortBy=created&sortOrder=asc", vec![&two, low, high]),
            ("sortBy=created", vec![&two, low, high]),
            ("sortBy=created&sortOrder=desc", vec![high, low, &two]),
            ("sortBy=dueDate&sortOrder=desc", vec![high, low, &two]),
            ("sortOrder=asc", vec![&two, low, high]),
            ("sortBy=id", vec![first, second, third]),
            ("sortBy=instanceId&sortOrder=desc", vec![third, second, first]),
            ("sortBy=name", vec![low, high, &two]),
            ("sortBy=nameCaseInsensitive&sortOrder=desc", vec![&two, high, low]),
            ("sortBy=assignee", vec![first, second, third]),
            ("sortBy=caseExecutionId", vec![first, second, third]),
            ("firstResult=1", vec![&two, &one]),
            ("maxResult=1", vec![&three]),
            ("firstResult=3", vec![]),
            ("firstResult=2147483647", vec![]),
        ] {
            let answer = suite.get(&format!("/applications?{query}")).await.ok();
            let found = ids(&answer, "fileId");
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query}");
        }
        for name in ["serviceId", "applicantId"] {
            let answer = suite.get(&format!("/applications?{name}=%00")).await;
            assert_eq!(answer.pointers(400, "validation_failed"), [format!("/{name}")]);
        }
    }

    async fn pages(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        suite.publish(&support()).await;
        for at in 0..5 {
            suite.submit(&format!("p{at}"), 500).await;
        }
        for (path, member) in [("/applications", "fileId"), ("/tasks", "taskId")] {
            let whole = ids(&suite.get(path).await.ok(), member);
            let mut found = Vec::new();
            let mut next = Some(format!("{path}?maxResult=2&sortOrder=desc"));
            while let Some(page) = next {
                let answer = suite.get(&page).await;
                assert_eq!(answer.headers["x-total-count"], "5");
                let link = answer.headers.get("link").map(|link| link.to_str().unwrap());
                next = link.map(|link| {
                    let query = link.strip_prefix('<').unwrap();
                    format!("{path}{}", query.strip_suffix(">; rel=\"next\"").unwrap())
                });
                found.extend(ids(&answer.ok(), member));
            }
            assert_eq!(found, whole, "{path}");
            for bad in [
                ("firstResult=-1", "/firstResult"), ("firstResult=x", "/firstResult"),
                ("firstResult=99999999999", "/firstResult"), ("firstResult=", "/firstResult"),
                ("maxResult=0", "/maxResult"), ("maxResult=501", "/maxResult"),
                ("sortBy=colour", "/sortBy"), ("sortBy=created&sortOrder=up", "/sortOrder"),
            ] {
                let answer = suite.get(&format!("{path}?{}", bad.0)).await;
                assert_eq!(answer.pointers(400, "validation_failed"), [bad.1], "{path}");
            }
        }
    }

    async fn who_sees_which_files(db: TestDatabase) {
        let mut suite = suite(db, Profile::Local).await;
        suite.publish(&support()).await;
        suite.publish(&json!({"serviceId": "other", "name": "Other",
            "forms": [{"eFormId": "o", "name": "O", "containers": []}],
            "roles": [{"id": "registrar", "name": "Registrar"}]})).await;
        let own = text(&suite.submit("p1", 500).await["fileId"]);
        let body = json!({"applicantId": "p2"});
        let other = suite.post("/services/other/applications", &body).await.ok();
        let other = text(&other["fileId"]);
        let seen = async |token: &str, suite: &mut Suite| {
            suite.as_caller(token).await;
            let listed = ids(&suite.get("/applications").await.ok(), "fileId");
            for file in [&own, &other] {
                let answer = suite.get(&format!("/applications/{file}")).await;
                if listed.contains(file) {
                    assert_eq!(answer.ok()["fileId"], **file);
                } else {
                    assert_eq!(answer.refused(404), "file_not_found");
                    let put = suite.call("PUT", &format!("/applications/{file}"), &json!({})).await;
                    assert_eq!(put.refused(404), "file_not_found");
                }
            }
            listed
        };
        assert_eq!(seen(&person("p1", APPLICANT), &mut suite).await, [own.clone()]);
        let asked = suite.get("/applications?applicantId=p2").await.ok();
        assert_eq!(asked, json!([]));
        assert_eq!(seen(&person("p3", APPLICANT), &mut suite).await, Vec::<String>::new());
        assert_eq!(seen(&operator("o1", "clerk"), &mut suite).await, [own.clone()]);
        assert_eq!(seen(&operator("o2", "registrar"), &mut suite).await, [other.clone()]);
        let asked = suite.get("/applications?applicantId=p2&serviceId=other").await.ok();
        assert_eq!(ids(&asked, "fileId"), [other.clone()]);
        assert_eq!(seen(&operator("o3", "*"), &mut suite).await, [other.clone(), own.clone()]);
        let system = machine("portal", &["registration:application:read"]);
        suite.as_caller(&system).await;
        assert_eq!(suite.get("/applications").await.headers["x-total-count"], "2");
    }

    async fn who_sees_which_tasks(db: TestDatabase) {
        let mut suite = suite(db, Profile::Local).await;
        suite.publish(&support()).await;
        let file = suite.submit("p1", 500).await;
        suite.submit("clerk-too", 500).await;
        let listed = suite.get("/tasks").await.ok();
        assert_eq!(listed.as_array().unwrap().len(), 2);
        let one = format!("/tasks?fileId={}", text(&file["fileId"]));
        let found = suite.get(&one).await.ok();
        let (task, main) = (text(&found[0]["taskId"]), text(&found[0]["mainTaskId"]));
        assert_eq!(names(&found[0]), ["created", "eFormId", "fileId", "mainTaskId", "name",
            "roleId", "serviceId", "serviceName", "status", "taskId"]);
        let path = format!("/tasks/{task}");
        let whole = suite.get(&path).await.ok();
        assert_eq!(names(&whole), ["created", "data", "eFormId", "fileId", "formVariables",
            "roleId", "serviceId", "serviceName", "status", "taskId", "taskName"]);
        assert_eq!(whole["formVariables"], json!({"household": {"members": 3, "income": 500}}));
        for (query, expected) in [
            (format!("mainTaskId={main}"), 1), (format!("mainTaskId={main}&fileId=none"), 0),
            ("assigneeId=o1".to_owned(), 0), ("fileId=none".to_owned(), 0),
            ("open=true".to_owned(), 2),
            ("sortBy=name&sortOrder=desc".to_owned(), 2),
        ] {
            let found = suite.get(&format!("/tasks?{query}")).await.ok();
            assert_eq!(found.as_array().unwrap().len(), expected, "{query}");
        }
        for name in ["mainTaskId", "fileId", "assigneeId"] {
            let answer = suite.get(&format!("/tasks?{name}=%00")).await;
            assert_eq!(answer.pointers(400, "validation_failed"), [format!("/{name}")]);
        }
        suite.as_caller(&operator("o1", "clerk")).await;
        assert_eq!(suite.get("/tasks").await.headers["x-total-count"], "2");
        suite.post(&format!("{path}/claim").replace("/tasks", "/api/v1/tasks"), &json!({}))
            .await.ok();
        let mine = suite.get("/tasks?assigneeId=o1&sortBy=assignee").await.ok();
        assert_eq!(ids(&mine, "taskId"), [task.clone()]);
        for token in [
            operator("o2", "head"), person("p1", APPLICANT),
            machine("portal", &["registration:task:read"]),
        ] {
            suite.as_caller(&token).await;
            for list in ["/tasks", "/tasks?open=true", &*one, "/tasks?assigneeId=o1"] {
                assert_eq!(suite.get(list).await.ok(), json!([]), "{list}");
            }
            assert_eq!(suite.get(&path).await.refused(404), "task_not_found");
        }
        // Nobody works on a file of their own.
        suite.as_caller(&operator("clerk-too", "clerk")).await;
        assert_eq!(ids(&suite.get("/tasks").await.ok(), "taskId"), [task]);
    }
}
