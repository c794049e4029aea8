//! `TemplateService`.

use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::template_service_server::TemplateService;
use tonic::{Request, Response, Status};

use super::{Service, who};

#[tonic::async_trait]
impl TemplateService for Service {
    async fn get_template(
        &self,
        request: Request<api::GetTemplateRequest>,
    ) -> Result<Response<api::GetTemplateResponse>, Status> {
        let who = who(&request);
        let message = request.into_inner();
        let template = self
            .app
            .get_template(&who, &message.name, message.version)
            .await?;
        Ok(Response::new(api::GetTemplateResponse {
            template: Some(template),
        }))
    }

    async fn list_templates(
        &self,
        request: Request<api::ListTemplatesRequest>,
    ) -> Result<Response<api::ListTemplatesResponse>, Status> {
        let who = who(&request);
        Ok(Response::new(
            self.app.list_templates(&who, &request.into_inner()).await?,
        ))
    }

    async fn create_template(
        &self,
        request: Request<api::CreateTemplateRequest>,
    ) -> Result<Response<api::CreateTemplateResponse>, Status> {
        let who = who(&request);
        let template = self.app.create_template(&who, request.into_inner()).await?;
        Ok(Response::new(api::CreateTemplateResponse {
            template: Some(template),
        }))
    }

    async fn approve_template(
        &self,
        request: Request<api::ApproveTemplateRequest>,
    ) -> Result<Response<api::ApproveTemplateResponse>, Status> {
        let who = who(&request);
        let template = self
            .app
            .approve_template(&who, request.into_inner())
            .await?;
        Ok(Response::new(api::ApproveTemplateResponse {
            template: Some(template),
        }))
    }

    async fn retire_template(
        &self,
        request: Request<api::RetireTemplateRequest>,
    ) -> Result<Response<api::RetireTemplateResponse>, Status> {
        let who = who(&request);
        let template = self.app.retire_template(&who, request.into_inner()).await?;
        Ok(Response::new(api::RetireTemplateResponse {
            template: Some(template),
        }))
    }

    async fn preview_template(
        &self,
        request: Request<api::PreviewTemplateRequest>,
    ) -> Result<Response<api::PreviewTemplateResponse>, Status> {
        let who = who(&request);
        Ok(Response::new(
            self.app
                .preview_template(&who, request.into_inner())
                .await?,
        ))
    }
}
