//! Purposes: the taxonomy by which an agreement to a purpose covers the more special ones.

/// Purposes with the broader ones above them: all of the Data Privacy Vocabulary 2.2 (W3C Data
/// Privacy Vocabularies and Controls Community Group, <https://w3id.org/dpv>). Every purpose is
/// below `Purpose` itself, which is left out: an agreement to any purpose at all is no agreement.
const TERMS: &[(&str, &[&str])] = &[
    ("AccountManagement", &[]),
    ("CommercialPurpose", &[]),
    (
        "CommercialResearch",
        &["CommercialPurpose", "ResearchAndDevelopment"],
    ),
    ("CommunicationManagement", &[]),
    (
        "CommunicationForCustomerCare",
        &["CommunicationManagement", "CustomerCare"],
    ),
    ("CustomerManagement", &[]),
    ("CustomerCare", &["CustomerManagement"]),
    ("CustomerClaimsManagement", &["CustomerManagement"]),
    ("CustomerOrderManagement", &["CustomerManagement"]),
    ("CustomerRelationshipManagement", &["CustomerManagement"]),
    (
        "ImproveInternalCRMProcesses",
        &[
            "CustomerRelationshipManagement",
            "OptimisationForController",
        ],
    ),
    ("CustomerSolvencyMonitoring", &["CustomerManagement"]),
    ("EnforceSecurity", &[]),
    ("EnforceAccessControl", &["EnforceSecurity"]),
    ("IdentityAuthentication", &["EnforceSecurity"]),
    ("MisusePreventionAndDetection", &["EnforceSecurity"]),
    (
        "FraudPreventionAndDetection",
        &["MisusePreventionAndDetection"],
    ),
    ("CounterMoneyLaundering", &["FraudPreventionAndDetection"]),
    ("MaintainFraudDatabase", &["FraudPreventionAndDetection"]),
    ("Verification", &["EnforceSecurity"]),
    ("AgeVerification", &["Verification"]),
    ("IdentityVerification", &["Verification"]),
    ("EstablishContractualAgreement", &[]),
    ("FulfilmentOfObligation", &[]),
    (
        "FulfilmentOfContractualObligation",
        &["FulfilmentOfObligation"],
    ),
    ("LegalCompliance", &["FulfilmentOfObligation"]),
    ("ProtectionOfIPR", &["FulfilmentOfObligation"]),
    ("HumanResourceManagement", &[]),
    ("PersonnelManagement", &["HumanResourceManagement"]),
    ("PersonnelHiring", &["PersonnelManagement"]),
    ("PersonnelOnboarding", &["PersonnelHiring"]),
    (
        "RecruitmentAdvertising",
        &["Advertising", "PersonnelHiring"],
    ),
    (
        "RecruitmentTargetedAdvertising",
        &["RecruitmentAdvertising", "TargetedAdvertising"],
    ),
    ("RecruitmentManagement", &["PersonnelHiring"]),
    (
        "RecruitmentApplicantBackgroundCheck",
        &["RecruitmentManagement"],
    ),
    (
        "RecruitmentApplicantCriminalBackgroundCheck",
        &["RecruitmentManagement"],
    ),
    (
        "RecruitmentApplicantInformationAuthentication",
        &["RecruitmentManagement"],
    ),
    ("RecruitmentApplicantSelection", &["RecruitmentManagement"]),
    (
        "RecruitmentApplicationManagement",
        &["RecruitmentManagement"],
    ),
    (
        "RecruitmentApplicationAnalysis",
        &["RecruitmentApplicationManagement"],
    ),
    (
        "RecruitmentApplicationScreening",
        &["RecruitmentApplicationManagement"],
    ),
    ("RecruitmentInterviewManagement", &["RecruitmentManagement"]),
    (
        "RecruitmentInterviewAnalysis",
        &["RecruitmentInterviewManagement"],
    ),
    (
        "RecruitmentInterviewAssessment",
        &["RecruitmentInterviewManagement"],
    ),
    (
        "RecruitmentInterviewScheduling",
        &["RecruitmentInterviewManagement"],
    ),
    ("PersonnelMonitoring", &["PersonnelManagement"]),
    ("PersonnelBehaviourMonitoring", &["PersonnelMonitoring"]),
    (
        "PersonnelPerformanceManagement",
        &["PersonnelManagement", "PersonnelMonitoring"],
    ),
    (
        "PersonnelPerformanceEvaluation",
        &["PersonnelPerformanceManagement"],
    ),
    (
        "PersonnelPerformanceMonitoring",
        &["PersonnelMonitoring", "PersonnelPerformanceManagement"],
    ),
    (
        "PersonnelPerformancePrediction",
        &["PersonnelPerformanceManagement"],
    ),
    ("PersonnelOffboarding", &["PersonnelManagement"]),
    ("PersonnelPayment", &["PersonnelManagement"]),
    ("PersonnelPromotionManagement", &["PersonnelManagement"]),
    ("PersonnelTerminationManagement", &["PersonnelManagement"]),
    ("PersonnelWorkloadManagement", &["PersonnelManagement"]),
    ("Marketing", &[]),
    ("Advertising", &["Marketing"]),
    (
        "PersonalisedAdvertising",
        &["Advertising", "Personalisation"],
    ),
    ("TargetedAdvertising", &["PersonalisedAdvertising"]),
    ("PoliticalCampaign", &["Advertising", "Personalisation"]),
    ("DirectMarketing", &["Marketing"]),
    ("PublicRelations", &["Marketing"]),
    ("SocialMediaMarketing", &["Marketing"]),
    ("NonCommercialPurpose", &[]),
    (
        "NonCommercialResearch",
        &["NonCommercialPurpose", "ResearchAndDevelopment"],
    ),
    ("OrganisationGovernance", &[]),
    ("DataGovernance", &["OrganisationGovernance"]),
    ("DataInteroperabilityManagement", &["DataGovernance"]),
    (
        "DataInteroperabilityAssessment",
        &["DataInteroperabilityManagement"],
    ),
    (
        "DataInteroperabilityImprovement",
        &["DataInteroperabilityManagement"],
    ),
    ("DataInventoryManagement", &["DataGovernance"]),
    ("DataQualityManagement", &["DataGovernance"]),
    ("DataQualityAssessment", &["DataQualityManagement"]),
    ("DataQualityImprovement", &["DataQualityManagement"]),
    ("DataSecurityManagement", &["DataGovernance"]),
    ("MetadataManagement", &["DataGovernance"]),
    ("DisputeManagement", &["OrganisationGovernance"]),
    ("MemberPartnerManagement", &["OrganisationGovernance"]),
    (
        "OrganisationComplianceManagement",
        &["OrganisationGovernance"],
    ),
    ("OrganisationRiskManagement", &["OrganisationGovernance"]),
    ("Personalisation", &[]),
    (
        "ServicePersonalisation",
        &["Personalisation", "ServiceProvision"],
    ),
    ("PersonalisedBenefits", &["ServicePersonalisation"]),
    (
        "ProvidePersonalisedRecommendations",
        &["ServicePersonalisation"],
    ),
    (
        "ProvideEventRecommendations",
        &["ProvidePersonalisedRecommendations"],
    ),
    (
        "ProvideProductRecommendations",
        &["ProvidePersonalisedRecommendations"],
    ),
    ("UserInterfacePersonalisation", &["ServicePersonalisation"]),
    ("PublicBenefit", &[]),
    ("CombatClimateChange", &["PublicBenefit"]),
    ("Counterterrorism", &["PublicBenefit"]),
    ("DataAltruism", &["PublicBenefit"]),
    ("ImproveHealthcare", &["PublicBenefit"]),
    ("ImprovePublicServices", &["PublicBenefit"]),
    ("ImproveTransportMobility", &["PublicBenefit"]),
    ("ProtectionOfNationalSecurity", &["PublicBenefit"]),
    ("ProtectionOfPublicSecurity", &["PublicBenefit"]),
    ("ProvideOfficialStatistics", &["PublicBenefit"]),
    ("PublicPolicyMaking", &["PublicBenefit"]),
    ("RecordManagement", &[]),
    ("ResearchAndDevelopment", &[]),
    ("AcademicResearch", &["ResearchAndDevelopment"]),
    ("ScientificResearch", &["ResearchAndDevelopment"]),
    ("ServiceProvision", &[]),
    ("PaymentManagement", &["ServiceProvision"]),
    ("RepairImpairments", &["ServiceProvision"]),
    ("RequestedServiceProvision", &["ServiceProvision"]),
    ("DeliveryOfGoods", &["RequestedServiceProvision"]),
    ("SearchFunctionalities", &["ServiceProvision"]),
    ("SellProducts", &["ServiceProvision"]),
    ("SellDataToThirdParties", &["SellProducts"]),
    ("SellInsightsFromData", &["SellProducts"]),
    ("SellProductsToDataSubject", &["SellProducts"]),
    ("ServiceOptimisation", &["ServiceProvision"]),
    ("OptimisationForConsumer", &["ServiceOptimisation"]),
    ("OptimiseUserInterface", &["OptimisationForConsumer"]),
    ("OptimisationForController", &["ServiceOptimisation"]),
    (
        "ImproveExistingProductsAndServices",
        &["OptimisationForController"],
    ),
    ("IncreaseServiceRobustness", &["OptimisationForController"]),
    (
        "InternalResourceOptimisation",
        &["OptimisationForController"],
    ),
    ("ServiceRegistration", &["ServiceProvision"]),
    ("ServiceUsageAnalytics", &["ServiceProvision"]),
    ("TechnicalServiceProvision", &["ServiceProvision"]),
    ("VendorManagement", &[]),
    ("VendorPayment", &["VendorManagement"]),
    ("VendorRecordsManagement", &["VendorManagement"]),
    ("VendorSelectionAssessment", &["VendorManagement"]),
];

/// Ways to write the vocabulary's namespace.
const NAMESPACES: &[&str] = &[
    "dpv:",
    "https://w3id.org/dpv#",
    "http://w3id.org/dpv#",
    "https://w3id.org/dpv/owl#",
    "https://w3id.org/dpv/dpv-owl#",
    "https://www.w3.org/ns/dpv#",
    "http://www.w3.org/ns/dpv#",
];

/// The one way in which a purpose's code is compared: terms of the vocabulary as `dpv:Term`,
/// anything else as it stands.
pub(crate) fn canonical(code: &str) -> String {
    let term = NAMESPACES.iter().find_map(|space| code.strip_prefix(space));
    term.map_or_else(|| code.to_owned(), |term| format!("dpv:{term}"))
}

fn broader(term: &str) -> &'static [&'static str] {
    let found = TERMS.iter().find(|(name, _)| *name == term);
    found.map_or(&[], |(_, broader)| *broader)
}

/// A purpose and everything broader, nearest first, in canonical form: an agreement to any of
/// them covers it.
pub(crate) fn covering(code: &str) -> Vec<String> {
    let own = canonical(code);
    let Some(term) = own.strip_prefix("dpv:") else {
        return vec![own];
    };
    let mut terms = vec![term.to_owned()];
    let mut next = 0;
    while let Some(term) = terms.get(next).cloned() {
        for above in broader(&term) {
            if !terms.iter().any(|known| known == above) {
                terms.push((*above).to_owned());
            }
        }
        next += 1;
    }
    terms
        .into_iter()
        .map(|term| format!("dpv:{term}"))
        .collect()
}

/// Whether an agreement to one purpose covers another: the same, or a more special one.
pub(crate) fn covers(agreed: &str, asked: &str) -> bool {
    let agreed = canonical(agreed);
    covering(asked).contains(&agreed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_a_hierarchy() {
        let names: BTreeSet<&str> = TERMS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), TERMS.len(), "a term stands there twice");
        for (name, broader) in TERMS {
            for above in *broader {
                assert!(names.contains(above), "{name} is below the unknown {above}");
                let circle = covering(&format!("dpv:{above}"));
                assert!(
                    !circle.contains(&format!("dpv:{name}")),
                    "{name} is in a circle"
                );
            }
        }
    }

    #[test]
    fn a_broad_purpose_covers_special_ones_and_never_the_other_way() {
        for (agreed, asked, covered) in [
            ("dpv:Marketing", "dpv:Marketing", true),
            ("dpv:Marketing", "dpv:TargetedAdvertising", true),
            (
                "https://w3id.org/dpv#Marketing",
                "dpv:DirectMarketing",
                true,
            ),
            ("dpv:Personalisation", "dpv:TargetedAdvertising", true),
            ("dpv:DirectMarketing", "dpv:Marketing", false),
            ("dpv:CommercialPurpose", "dpv:CommercialResearch", true),
            (
                "dpv:HumanResourceManagement",
                "dpv:RecruitmentInterviewAnalysis",
                true,
            ),
            // Terms that the vocabulary has, and no purposes of it.
            ("dpv:EnforceSecurity", "dpv:Counterterrorism", false),
            ("dpv:FulfilmentOfObligation", "dpv:LegalObligation", false),
            ("dpv:ServiceProvision", "dpv:Marketing", false),
            (
                "dpv:ServiceProvision",
                "http://www.w3.org/ns/dpv#PaymentManagement",
                true,
            ),
            ("dpv:Purpose", "dpv:Marketing", false),
            ("urn:x:one", "urn:x:one", true),
            ("urn:x", "urn:x:one", false),
            ("dpv:Unknown", "dpv:Unknown", true),
            ("", "dpv:Marketing", false),
        ] {
            assert_eq!(covers(agreed, asked), covered, "{agreed} {asked}");
        }
    }
}
