//! Who may call what. What is not listed is denied to everybody.

use publica_auth::Access::{self, Scope};

pub(crate) const POLICY: &[(&str, Access)] = publica_journal::policy! {
    "registration";
    ("/publica.registration.v1.CatalogService/ListServices", Scope("registration:service:read")),
    ("/publica.registration.v1.CatalogService/GetService", Scope("registration:service:read")),
    ("/publica.registration.v1.CatalogService/ListEForms", Scope("registration:service:read")),
    ("/publica.registration.v1.CatalogService/GetEForm", Scope("registration:service:read")),
    ("/publica.registration.v1.CatalogService/PublishService",
        Scope("registration:service:write")),
    ("/publica.registration.v1.CatalogService/SetServiceOpen",
        Scope("registration:service:write")),
    ("/publica.registration.v1.ApplicationService/SubmitApplication",
        Scope("registration:application:write")),
    ("/publica.registration.v1.ApplicationService/GetApplication",
        Scope("registration:application:read")),
    ("/publica.registration.v1.ApplicationService/ListApplications",
        Scope("registration:application:read")),
    ("/publica.registration.v1.ApplicationService/UpdateApplication",
        Scope("registration:application:write")),
    ("/publica.registration.v1.ApplicationService/WithdrawApplication",
        Scope("registration:application:write")),
    ("/publica.registration.v1.ApplicationService/ListFileEvents",
        Scope("registration:application:read")),
    ("/publica.registration.v1.TaskService/ListTasks", Scope("registration:task:read")),
    ("/publica.registration.v1.TaskService/GetTask", Scope("registration:task:read")),
    ("/publica.registration.v1.TaskService/ClaimTask", Scope("registration:task:write")),
    ("/publica.registration.v1.TaskService/CompleteTask", Scope("registration:task:write")),
    ("/publica.registration.v1.DocumentService/UploadDocument",
        Scope("registration:document:write")),
    ("/publica.registration.v1.DocumentService/GetDocument",
        Scope("registration:document:read")),
    ("/publica.registration.v1.StatisticsService/GetStatistics",
        Scope("registration:statistics:read")),
    ("/publica.registration.v1.RegistryService/ReadEntry", Scope("registration:register:read")),
    ("/publica.imports.v1.ImportService/ImportEntities", Scope("registration:import:write")),
};
