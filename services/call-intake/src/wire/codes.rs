//! The numbers that the contracts give to our words.

use crate::domain::events::Closure;
use crate::domain::words::*;
use hearthline_contracts::{call, coded, types};
use hearthline_nhs::{Consciousness, Parameter, Risk, SpO2Scale};

coded! {
    Channel = call::Channel { Telephone = Telephone, Video = Video, Web = Web }
    CallReason = call::CallReason {
        Fall = Fall, Trauma = Trauma, NewConfusion = NewConfusion, Pain = Pain, Breathlessness = Breathlessness,
        SuspectedInfection = SuspectedInfection, EndOfLife = EndOfLife, Medicines = Medicines, Other = Other,
    }
    Urgency = call::Urgency { Emergency = Emergency, Urgent = Urgent, Soon = Soon, Routine = Routine }
    ReferralSource = call::ReferralSource {
        HomeDirect = HomeDirect, Gp = Gp, Nhs111 = Nhs111, Emergency999 = Emergency999, OutOfHours = OutOfHours,
        CommunityNurse = CommunityNurse, HubFollowUp = HubFollowUp, Other = Other,
    }
    RetriageReason = call::RetriageReason { ConditionChanged = ConditionChanged, NewInformation = NewInformation, Correction = Correction }
    ClinicianRole = call::ClinicianRole {
        Nurse = Nurse, AdvancedClinicalPractitioner = AdvancedClinicalPractitioner, Paramedic = Paramedic, Pharmacist = Pharmacist,
        Gp = Gp, Geriatrician = Geriatrician, EmergencyPhysician = EmergencyPhysician, OtherDoctor = OtherDoctor, Other = Other,
    }
    ClinicianGrade = call::ClinicianGrade {
        Band5 = Band5, Band6 = Band6, Band7 = Band7, Band8 = Band8, DoctorInTraining = DoctorInTraining,
        SpecialistDoctor = SpecialistDoctor, Gp = Gp, Consultant = Consultant,
    }
    Alternative = types::Alternative {
        Emergency999 = Emergency999, Nhs111 = Nhs111, OutOfHours = OutOfHours, GpCallOut = GpCallOut, Wait = Wait, Other = Other,
    }
    ConsentBasis = call::ConsentBasis { Given = Given, Refused = Refused, BestInterests = BestInterests }
    IdentityStatus = types::IdentityStatus { Identified = Identified, Provisional = Provisional }
    ObservationTool = call::ObservationTool { None = None, Restore2 = Restore2 }
    OutcomeToFollow = call::OutcomeToFollow {
        RecordUnavailable = RecordUnavailable, AwaitingSenior = AwaitingSenior, AwaitingResult = AwaitingResult,
        CallInterrupted = CallInterrupted,
    }
    VoidReason = call::VoidReason { OpenedInError = OpenedInError, Duplicate = Duplicate, WrongHome = WrongHome, NotACall = NotACall }
    Closure = types::TaskClosure { Done = Done, Overtaken = Overtaken, Dismissed = Dismissed }
}

/// Value types of another crate cannot carry the contracts' trait; these are their numbers.
pub(super) fn scale(scale: SpO2Scale) -> call::Spo2Scale {
    match scale {
        SpO2Scale::One => call::Spo2Scale::One,
        SpO2Scale::Two => call::Spo2Scale::Two,
    }
}

pub(super) fn scale_of(code: i32) -> SpO2Scale {
    match call::Spo2Scale::try_from(code) {
        Ok(call::Spo2Scale::Two) => SpO2Scale::Two,
        // Scale 1 applies unless scale 2 is stated (RCP 2017).
        Ok(call::Spo2Scale::One | call::Spo2Scale::Unspecified) | Err(_) => SpO2Scale::One,
    }
}

pub(super) fn consciousness(level: Option<Consciousness>) -> call::Consciousness {
    match level {
        None => call::Consciousness::Unspecified,
        Some(Consciousness::Alert) => call::Consciousness::Alert,
        Some(Consciousness::NewConfusion) => call::Consciousness::NewConfusion,
        Some(Consciousness::Voice) => call::Consciousness::Voice,
        Some(Consciousness::Pain) => call::Consciousness::Pain,
        Some(Consciousness::Unresponsive) => call::Consciousness::Unresponsive,
    }
}

pub(super) fn consciousness_of(level: call::Consciousness) -> Option<Consciousness> {
    match level {
        call::Consciousness::Unspecified => None,
        call::Consciousness::Alert => Some(Consciousness::Alert),
        call::Consciousness::NewConfusion => Some(Consciousness::NewConfusion),
        call::Consciousness::Voice => Some(Consciousness::Voice),
        call::Consciousness::Pain => Some(Consciousness::Pain),
        call::Consciousness::Unresponsive => Some(Consciousness::Unresponsive),
    }
}

pub(super) fn parameter(parameter: Parameter) -> call::Parameter {
    match parameter {
        Parameter::RespiratoryRate => call::Parameter::RespirationRate,
        Parameter::OxygenSaturation => call::Parameter::OxygenSaturation,
        Parameter::InspiredGas => call::Parameter::AirOrOxygen,
        Parameter::SystolicBloodPressure => call::Parameter::SystolicBloodPressure,
        Parameter::Pulse => call::Parameter::Pulse,
        Parameter::Consciousness => call::Parameter::Consciousness,
        Parameter::Temperature => call::Parameter::Temperature,
    }
}

pub(super) fn parameter_of(code: i32) -> Option<Parameter> {
    Parameter::ALL.into_iter().find(|p| parameter(*p) as i32 == code)
}

pub(super) fn risk(risk: Risk) -> call::News2Risk {
    match risk {
        Risk::Low => call::News2Risk::Low,
        Risk::LowMedium => call::News2Risk::LowMedium,
        Risk::Medium => call::News2Risk::Medium,
        Risk::High => call::News2Risk::High,
    }
}

pub(super) fn risk_of(code: i32) -> Option<Risk> {
    [Risk::Low, Risk::LowMedium, Risk::Medium, Risk::High].into_iter().find(|r| risk(*r) as i32 == code)
}
