-- What lists of files and tasks are read by.
CREATE INDEX application_file_created
    ON application_file (COALESCE(create_time, register_time), file_id);
CREATE INDEX task_assignee ON task (assignee_id, create_time, task_id);
CREATE INDEX task_role ON task (role_id, create_time, task_id);
