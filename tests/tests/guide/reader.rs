//! Somebody who does what the guide says, at three terminals: the platform, the clinic, and everything else.
//! Reads and writes: a temporary folder, the platform, the clinic. Never: types anything that the guide does not say;
//! only ports and folders are this machine's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use campana_bus::testing::{find_nats_server, free_port};
use campana_tests::platform::{Home, fixed_ports};
use campana_tests::process::{Process, Signal};
use campana_tests::wait::eventually;
use campana_tests::{Platform, command};

use super::page::{Entry, fits};
use super::workshop::{Workshop, link};

/// For what the guide shows "a moment later", and for a program's first words.
const SEEN_WITHIN: Duration = Duration::from_secs(60);
const STOPS_WITHIN: Duration = Duration::from_secs(60);
/// One command; the tests of the last step are compiled first.
const ENDS_WITHIN: Duration = Duration::from_secs(600);
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);
/// Set for the reader's own folders in the guide, for this machine's in the test.
const OF_THE_MACHINE: [&str; 3] = ["PATH", "CAMPANA__DATA_DIR", "NATS_SERVER_BIN"];
/// Addresses in the guide and their names in `up.json`.
const ADDRESSES: [(&str, &str); 4] = [
    ("127.0.0.1:8080", "gateway"),
    ("127.0.0.1:8025", "sandbox"),
    ("127.0.0.1:8000", "edge"),
    ("127.0.0.1:4222", "nats"),
];

/// The reader.
pub struct Reader {
    home: Home,
    ports: Vec<String>,
    platform: Option<Platform>,
    clinic: Option<Process>,
    environment: BTreeMap<String, String>,
    folder: PathBuf,
    /// As the guide writes it, and as it is here.
    names: Vec<(String, String)>,
}

impl Reader {
    /// In an empty folder, with the repository beside.
    ///
    /// # Errors
    /// If there is no nats-server or no binary.
    pub fn new(workshop: &Workshop) -> Result<Self> {
        let home = Home::new()?;
        let folder = home.path().join("reader");
        std::fs::create_dir(&folder)?;
        link(workshop.root(), &folder.join("campana"))?;
        let address = format!("127.0.0.1:{}", free_port().map_err(anyhow::Error::msg)?);
        let mut environment = workshop.environment();
        let binary = command::campana()?;
        let tools = binary.parent().context("a program lies in a folder")?.display();
        let path = format!("{tools}:{}", environment.get("PATH").map_or("", String::as_str));
        let nats = find_nats_server().map_err(anyhow::Error::msg)?;
        for (name, value) in [
            ("PATH", path),
            ("NATS_SERVER_BIN", nats.display().to_string()),
            ("CAMPANA__DATA_DIR", home.data().display().to_string()),
            ("CLINIC_LISTEN", address.clone()),
            // The guide's own tests leave their databases there.
            ("TMPDIR", home.path().display().to_string()),
        ] {
            environment.insert(name.to_owned(), value);
        }
        let names = vec![("127.0.0.1:3000".to_owned(), address)];
        let (ports, platform, clinic) = (fixed_ports()?, None, None);
        Ok(Self { home, ports, platform, clinic, environment, folder, names })
    }

    /// Where the clinic is.
    pub fn clinic_url(&self) -> String {
        format!("http://{}", self.here("127.0.0.1:3000"))
    }

    /// Saves a file in the platform's folder.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn configure(&self, name: &str, text: &str) -> Result<()> {
        Ok(std::fs::write(self.home.path().join(name), self.here(text))?)
    }

    /// Does one thing of a console and looks at what comes of it.
    ///
    /// # Errors
    /// If the guide says that something else comes.
    pub async fn act(&mut self, entry: &Entry, step: usize, workshop: &Workshop) -> Result<()> {
        let command = entry.command.as_str();
        if command == "cargo xtask up -- --no-apps" {
            return self.start_platform(&entry.output).await;
        }
        if command == "cargo run" {
            let program = workshop.build(step).await?;
            return self.start_clinic(&program, &entry.output).await;
        }
        if command == "pkill -9 -x clinic" {
            let mut clinic = self.clinic.take().context("the clinic does not run")?;
            clinic.kill();
            return Ok(());
        }
        match command {
            "# ctrl-C in terminal 1" => {
                let platform = self.platform.take().context("the platform does not run")?;
                return platform.stop(Signal::INT).await.map(drop);
            }
            "# ctrl-C in terminal 2" => return self.stop_clinic().await,
            note if note.starts_with('#') => bail!("nobody knows how to do `{note}`"),
            _ => {}
        }
        if let Some(folder) = command.strip_prefix("cd ") {
            self.folder = self.folder.join(folder);
            ensure!(self.folder.is_dir(), "there is no folder {folder}");
            return Ok(());
        }
        if let Some(name) = command.strip_prefix("export ").and_then(|rest| rest.split('=').next())
        {
            return self.export(name, command, workshop).await;
        }
        // What cargo does, it does in the folder of the step, which later runs find again.
        let folder = if command.starts_with("cargo") && step > 1 || command.contains("--example") {
            workshop.folder(step)?
        } else {
            self.folder.clone()
        };
        self.shell(entry, &folder, workshop).await
    }

    async fn start_platform(&mut self, expected: &[String]) -> Result<()> {
        ensure!(self.platform.is_none(), "the platform runs already");
        let ports: Vec<&str> = self.ports.iter().map(String::as_str).collect();
        let platform = Platform::up_in(&self.home, &ports).await?;
        for (canonical, name) in ADDRESSES {
            let url = platform.url(name);
            let address = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest).to_owned();
            self.names.retain(|(known, _)| known != canonical);
            self.names.push((canonical.to_owned(), address));
        }
        self.environment.insert("NATS_URL".to_owned(), platform.url("nats"));
        self.environment.insert("CAMPANA_API_URL".to_owned(), platform.url("gateway"));
        let found = self.in_the_guide(&platform.process.output());
        self.platform = Some(platform);
        compare(expected, &found, "")
    }

    /// Who starts the clinic again ends the one that runs first.
    async fn start_clinic(&mut self, program: &Path, expected: &[String]) -> Result<()> {
        if self.clinic.is_some() {
            self.stop_clinic().await?;
        }
        let mut clinic = Process::start("clinic", program, self.home.path(), |command| {
            command.env_clear().envs(&self.environment).current_dir(&self.folder);
        })?;
        let wanted = expected.to_vec();
        let look = async || {
            clinic.must_run()?;
            let found = self.in_the_guide(&clinic.output());
            Ok(fits(&wanted, &found).then_some(()))
        };
        eventually("what the clinic prints when it starts", SEEN_WITHIN, look).await?;
        self.clinic = Some(clinic);
        Ok(())
    }

    async fn stop_clinic(&mut self) -> Result<()> {
        let mut clinic = self.clinic.take().context("the clinic does not run")?;
        clinic.signal(Signal::INT)?;
        let ended = clinic.ended(STOPS_WITHIN).await?;
        // The first step's clinic has no orderly end.
        let clean =
            ended.success() || std::os::unix::process::ExitStatusExt::signal(&ended).is_some();
        ensure!(clean, "the clinic's end was {ended}: {}", clinic.log());
        Ok(())
    }

    /// Ends both programs, if they run.
    ///
    /// # Errors
    /// If one does not end cleanly.
    pub async fn leave(&mut self) -> Result<()> {
        if self.clinic.is_some() {
            self.stop_clinic().await?;
        }
        match self.platform.take() {
            Some(platform) => platform.stop(Signal::INT).await.map(drop),
            None => Ok(()),
        }
    }

    async fn export(&mut self, name: &str, command: &str, workshop: &Workshop) -> Result<()> {
        if OF_THE_MACHINE.contains(&name) {
            return Ok(());
        }
        let script = format!("{command}; printf %s \"${name}\"");
        let (value, errors) = self.run(&script, &self.folder.clone(), workshop).await?;
        ensure!(!value.is_empty() && errors.is_empty(), "`{name}` is empty: {errors}");
        self.environment.insert(name.to_owned(), value);
        Ok(())
    }

    async fn shell(&self, entry: &Entry, folder: &Path, workshop: &Workshop) -> Result<()> {
        let started = campana_bus::clock::monotonic();
        loop {
            let (output, errors) = self.run(&entry.command, folder, workshop).await?;
            let result = compare(&entry.output, &self.in_the_guide(&output), &errors);
            if result.is_ok() || !entry.patient || started.elapsed() > SEEN_WITHIN {
                return result;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    async fn run(
        &self,
        script: &str,
        folder: &Path,
        workshop: &Workshop,
    ) -> Result<(String, String)> {
        let mut bash = workshop.command("bash", folder);
        bash.envs(&self.environment).arg("-c").arg(self.here(script));
        let output = tokio::time::timeout(ENDS_WITHIN, bash.output()).await;
        let output = output.context("the command does not end")??;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((text(&output.stdout), text(&output.stderr)))
    }

    fn here(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (guide, here)| text.replace(guide, here))
    }

    fn in_the_guide(&self, text: &str) -> Vec<String> {
        let text = self
            .names
            .iter()
            .fold(text.to_owned(), |text, (guide, here)| text.replace(here, guide));
        text.lines().map(|line| line.trim_end().to_owned()).collect()
    }
}

fn compare(expected: &[String], found: &[String], errors: &str) -> Result<()> {
    ensure!(
        fits(expected, found),
        "the guide says\n{}\n--- but what comes is\n{}\n--- {errors}",
        expected.join("\n"),
        found.join("\n")
    );
    Ok(())
}
