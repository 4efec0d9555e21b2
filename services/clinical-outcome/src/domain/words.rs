//! The code words of an outcome.

hearthline_nhs::words! {
    /// What happened to the resident: exactly one for a call.
    pub enum Disposition {
        AdviceOnly = "advice_only",
        TreatedAtHome = "treated_at_home",
        Referred = "referred",
        GpReview = "gp_review",
        EdByAmbulance = "ed_by_ambulance",
        EdOther = "ed_other",
        DirectAdmission = "direct_admission",
        Emergency999 = "emergency_999",
        Died = "died",
        Other = "other",
    }

    /// What a clinician can claim to have been avoided.
    pub enum AvoidanceKind { Conveyance = "conveyance", EdAttendance = "ed_attendance", Admission = "admission" }

    /// Why a claim no longer stands.
    pub enum WithdrawalReason {
        ClaimedInError = "claimed_in_error",
        ConveyanceArranged = "conveyance_arranged",
        /// By policy only: the call was voided.
        CallVoided = "call_voided",
        Reviewed = "reviewed",
    }

    /// Why an outcome was replaced.
    pub enum AmendmentReason {
        NewInformation = "new_information",
        Correction = "correction",
        /// By policy only: the call was voided.
        CallVoided = "call_voided",
        /// By policy only: the call turned out to be about another resident.
        OtherResident = "other_resident",
    }

    /// What the home would have done without the hub.
    pub enum Alternative {
        Emergency999 = "999",
        Nhs111 = "111",
        OutOfHours = "out_of_hours",
        GpCallOut = "gp",
        Wait = "wait",
        Other = "other",
    }

    /// Whether the outcome may be shared.
    pub enum ConsentBasis { Given = "given", Refused = "refused", BestInterests = "best_interests" }

    /// Whether the directory has said who the resident is.
    pub enum IdentityStatus { Identified = "identified", Provisional = "provisional" }

    /// How far the call has come, as this service has heard.
    pub enum CallStatus {
        Open = "open",
        Triaged = "triaged",
        WithClinician = "with_clinician",
        Closed = "closed",
        Abandoned = "abandoned",
        Voided = "voided",
    }
}
