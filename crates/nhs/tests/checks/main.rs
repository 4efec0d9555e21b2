//! Check values from the published standards, and properties that hold for any input.

mod contact;
mod coordinates;
mod demographics;
mod hospital;
mod identifier;
mod london;
mod news2;
mod nhs_number;
mod opening_hours;
mod organisation;
mod personal;
mod prescription;
mod sctid;
