//! Which clinics and dentists there are: a TOML file of the operator, or the demo's.
//! Reads: the file of `--setup`. Writes: clinics and accounts that are missing. Never: changes an account that is
//! there, since its owner may have; removes anything.

use anyhow::{Context as _, bail};
use campana_bus::clock::Micros;
use serde::Deserialize;

use crate::appointment::Role;
use crate::calendar::{self, Hours};
use crate::options::Options;
use crate::passwords;
use crate::store::Store;
use crate::store::accounts::Account;
use crate::store::clinics::Clinic;

const DEMO: &str = include_str!("demo.toml");
const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Setup {
    #[serde(default)]
    clinics: Vec<ClinicIn>,
    #[serde(default)]
    patients: Vec<PersonIn>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClinicIn {
    id: String,
    name: String,
    address: String,
    time_zone: String,
    opens: String,
    closes: String,
    slot_minutes: i64,
    weekdays: Vec<String>,
    #[serde(default)]
    dentists: Vec<PersonIn>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonIn {
    id: Option<String>,
    name: String,
    email: String,
    language: String,
    #[serde(default)]
    phone: String,
    #[serde(default)]
    password_hash: String,
}

/// Somebody to try the demo as.
#[derive(Clone, Debug, serde::Serialize)]
pub struct DemoAccount {
    /// The account.
    pub id: String,
    /// The name.
    pub name: String,
    /// Patient or dentist.
    pub role: Role,
}

/// Writes what the setup file and, if wanted, the demo say.
///
/// # Errors
/// If a file cannot be read or has a mistake, or the database refuses.
pub async fn apply(store: &Store, options: &Options, now: Micros) -> anyhow::Result<()> {
    if let Some(path) = &options.setup {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the setup file {}", path.display()))?;
        let setup: Setup = toml::from_str(&text)
            .with_context(|| format!("a mistake in the setup file {}", path.display()))?;
        if !setup.patients.is_empty() {
            bail!("the setup file has patients: they make their accounts themselves");
        }
        write(store, setup, now).await?;
    }
    if options.demo {
        write(store, toml::from_str(DEMO).context("the demo's setup")?, now).await?;
    }
    Ok(())
}

/// The people of the demo, as its login page offers them.
///
/// # Errors
/// If the embedded file has a mistake, which a test would find.
pub fn demo_accounts() -> anyhow::Result<Vec<DemoAccount>> {
    let setup: Setup = toml::from_str(DEMO)?;
    let dentists = setup.clinics.into_iter().flat_map(|clinic| clinic.dentists);
    let patients = setup.patients.into_iter().map(|person| (Role::Patient, person));
    let all = patients.chain(dentists.map(|person| (Role::Dentist, person)));
    Ok(all
        .filter_map(|(role, person)| Some(DemoAccount { id: person.id?, name: person.name, role }))
        .collect())
}

async fn write(store: &Store, setup: Setup, now: Micros) -> anyhow::Result<()> {
    for clinic in setup.clinics {
        let id = clinic.id.clone();
        let (clinic, dentists) =
            checked(clinic).with_context(|| format!("the clinic \"{id}\" of the setup"))?;
        store.save_clinic(&clinic).await?;
        for dentist in dentists {
            store.create_account(&account(dentist, Role::Dentist, &id), now).await?;
        }
    }
    for patient in setup.patients {
        store.create_account(&account(patient, Role::Patient, ""), now).await?;
    }
    Ok(())
}

fn checked(clinic: ClinicIn) -> anyhow::Result<(Clinic, Vec<PersonIn>)> {
    calendar::zone(&clinic.time_zone).map_err(anyhow::Error::msg)?;
    let mut weekdays = 0;
    for name in &clinic.weekdays {
        let Some(day) = WEEKDAYS.iter().position(|day| day == name) else {
            bail!("\"{name}\" is no weekday: use mon, tue, wed, thu, fri, sat, sun");
        };
        weekdays |= 1_i64 << day;
    }
    let hours = Hours {
        opens: minutes(&clinic.opens)?,
        closes: minutes(&clinic.closes)?,
        slot_minutes: clinic.slot_minutes,
        weekdays,
    };
    let hours = hours.check().map_err(anyhow::Error::msg)?;
    let ClinicIn { id, name, address, time_zone, dentists, .. } = clinic;
    Ok((Clinic { id, name, address, time_zone, hours }, dentists))
}

/// Minutes after midnight of "09:30"; "24:00" is the end of the day.
fn minutes(text: &str) -> anyhow::Result<i64> {
    let parsed = text.split_once(':').and_then(|(hours, minutes)| {
        let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
        ((0..=24).contains(&hours) && (0..60).contains(&minutes)).then_some(hours * 60 + minutes)
    });
    parsed.with_context(|| format!("\"{text}\" is no time of day, such as 09:30"))
}

fn account(person: PersonIn, role: Role, clinic: &str) -> Account {
    let prefix = match role {
        Role::Patient => "pat",
        Role::Dentist => "den",
    };
    let reachable = !person.phone.is_empty();
    Account {
        id: person.id.unwrap_or_else(|| passwords::id(prefix)),
        role,
        clinic_id: clinic.to_owned(),
        email: person.email.to_lowercase(),
        name: person.name,
        password_hash: person.password_hash,
        language: person.language,
        phone: person.phone,
        wants_email: true,
        wants_sms: reachable && role == Role::Patient,
        wants_whatsapp: false,
        version: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_is_a_valid_setup() {
        let setup: Setup = toml::from_str(DEMO).unwrap();
        for clinic in setup.clinics {
            checked(clinic).unwrap();
        }
        assert_eq!(demo_accounts().unwrap().len(), 5);
    }

    #[test]
    fn mistakes_are_named() {
        let change = |from: &str, to: &str| {
            let mut setup: Setup = toml::from_str(&DEMO.replace(from, to)).unwrap();
            checked(setup.clinics.remove(0)).unwrap_err().to_string()
        };
        assert!(change("Europe/Madrid", "Europe/Toledo").contains("no time zone"));
        assert!(change("\"09:00\"", "\"9 am\"").contains("no time of day"));
        assert!(change("\"18:00\"", "\"08:00\"").contains("opens before it closes"));
        assert!(change("\"mon\"", "\"Monday\"").contains("no weekday"));
        assert!(toml::from_str::<Setup>("[[clinic]]").is_err());
    }
}
