//! The code words of a call, as the hub and the homes use them.

hearthline_nhs::words! {
    /// How the call reached the hub.
    pub enum Channel { Telephone = "telephone", Video = "video", Web = "web" }

    /// Why the home calls.
    pub enum CallReason {
        Fall = "fall",
        Trauma = "trauma",
        NewConfusion = "new_confusion",
        Pain = "pain",
        Breathlessness = "breathlessness",
        SuspectedInfection = "suspected_infection",
        EndOfLife = "end_of_life",
        Medicines = "medicines",
        Other = "other",
    }

    /// How soon a clinician must have joined.
    pub enum Urgency {
        Emergency = "emergency",
        Urgent = "urgent",
        Soon = "soon",
        Routine = "routine",
    }

    /// Who sent the caller to the hub.
    pub enum ReferralSource {
        HomeDirect = "home_direct",
        Gp = "gp",
        Nhs111 = "111",
        /// 999, or an ambulance crew on scene.
        Emergency999 = "999",
        OutOfHours = "out_of_hours",
        CommunityNurse = "community_nurse",
        HubFollowUp = "hub_follow_up",
        Other = "other",
    }

    /// Why a triaged call is triaged again.
    pub enum RetriageReason {
        ConditionChanged = "condition_changed",
        NewInformation = "new_information",
        Correction = "correction",
    }

    /// What the clinician is.
    pub enum ClinicianRole {
        Nurse = "nurse",
        AdvancedClinicalPractitioner = "advanced_clinical_practitioner",
        Paramedic = "paramedic",
        Pharmacist = "pharmacist",
        Gp = "gp",
        Geriatrician = "geriatrician",
        EmergencyPhysician = "emergency_physician",
        OtherDoctor = "other_doctor",
        Other = "other",
    }

    /// Agenda for Change band or medical grade.
    pub enum ClinicianGrade {
        Band5 = "band_5",
        Band6 = "band_6",
        Band7 = "band_7",
        Band8 = "band_8",
        DoctorInTraining = "doctor_in_training",
        SpecialistDoctor = "specialist_doctor",
        Gp = "gp",
        Consultant = "consultant",
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

    /// On what ground the outcome may be shared, or that it may not.
    pub enum ConsentBasis { Given = "given", Refused = "refused", BestInterests = "best_interests" }

    /// Whether the directory has said who the resident is.
    pub enum IdentityStatus { Identified = "identified", Provisional = "provisional" }

    /// With what the home took the observations.
    pub enum ObservationTool { None = "none", Restore2 = "restore2" }

    /// Why a call is closed before its outcome is recorded.
    pub enum OutcomeToFollow {
        RecordUnavailable = "record_unavailable",
        AwaitingSenior = "awaiting_senior",
        AwaitingResult = "awaiting_result",
        CallInterrupted = "call_interrupted",
    }

    /// Why a call should never have been recorded.
    pub enum VoidReason {
        OpenedInError = "opened_in_error",
        Duplicate = "duplicate",
        WrongHome = "wrong_home",
        NotACall = "not_a_call",
    }

    /// How far a call has come.
    pub enum Status {
        Open = "open",
        Triaged = "triaged",
        WithClinician = "with_clinician",
        Closed = "closed",
        Abandoned = "abandoned",
        Voided = "voided",
    }
}
