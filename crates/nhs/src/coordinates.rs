//! Positions on the earth, precise enough to find the nearest pharmacy.

/// Mean radius of the earth (IUGG), metres.
const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// A WGS 84 position in micro-degrees (about 0.1 m).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Coordinates {
    latitude: i32,
    longitude: i32,
}

/// Why two numbers are not a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CoordinatesError {
    #[error("a latitude lies between -90 and 90 degrees")]
    Latitude,
    #[error("a longitude lies between -180 and 180 degrees")]
    Longitude,
}

impl Coordinates {
    /// A position from micro-degrees north and east.
    pub fn from_micro_degrees(latitude: i32, longitude: i32) -> Result<Self, CoordinatesError> {
        if !(-90_000_000..=90_000_000).contains(&latitude) {
            return Err(CoordinatesError::Latitude);
        }
        if !(-180_000_000..=180_000_000).contains(&longitude) {
            return Err(CoordinatesError::Longitude);
        }
        Ok(Self { latitude, longitude })
    }

    /// A position from degrees north and east, rounded to micro-degrees.
    pub fn from_degrees(latitude: f64, longitude: f64) -> Result<Self, CoordinatesError> {
        if !(-90.0..=90.0).contains(&latitude) {
            return Err(CoordinatesError::Latitude);
        }
        if !(-180.0..=180.0).contains(&longitude) {
            return Err(CoordinatesError::Longitude);
        }
        Self::from_micro_degrees((latitude * 1e6).round() as i32, (longitude * 1e6).round() as i32)
    }

    /// Micro-degrees north.
    pub fn latitude(self) -> i32 {
        self.latitude
    }

    /// Micro-degrees east.
    pub fn longitude(self) -> i32 {
        self.longitude
    }

    /// Great-circle distance in metres by the haversine formula: within 0.5 % of the ellipsoid, and as the
    /// crow flies, which roads and the Solent do not follow.
    pub fn distance_m(self, other: Self) -> f64 {
        let radians = |micro_degrees: i32| (f64::from(micro_degrees) / 1e6).to_radians();
        let (from, to) = (radians(self.latitude), radians(other.latitude));
        let half_north = (to - from) / 2.0;
        let half_east = (radians(other.longitude) - radians(self.longitude)) / 2.0;
        let haversine = half_north.sin().powi(2) + from.cos() * to.cos() * half_east.sin().powi(2);
        2.0 * EARTH_RADIUS_M * haversine.clamp(0.0, 1.0).sqrt().asin()
    }
}
