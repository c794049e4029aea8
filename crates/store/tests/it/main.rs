//! The store through its public face, on both engines.

#[cfg(test)]
mod failures;
#[cfg(test)]
mod gather;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod support;
#[cfg(test)]
mod units;
#[cfg(test)]
mod values;
