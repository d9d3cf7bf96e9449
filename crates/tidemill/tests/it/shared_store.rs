//! `store.url`: machines that share one store, each with its own database.

use crate::fixture::Project;

/// A project on a machine of its own, over the store in `folder`.
fn machine(folder: &std::path::Path) -> Project {
    let url = format!("file://{}", folder.display());
    let step = "{run: cat in.txt > out.txt, deps: [in.txt], outs: [out.txt]}";
    Project::new(&format!("{{project: shared, store: {{url: \"{url}\"}}, pipeline: {{a: {step}}}}}"))
}

#[test]
fn versions_and_results_of_one_machine_are_those_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (machine(folder.path()), machine(folder.path()));
    here.write("table.csv", "id,x\n1,2\n");
    here.run(&["data", "add", "table", "table.csv"]).good().says(&["table@1"]);
    here.write("in.txt", "in\n");
    assert_eq!(here.states(&[]), [("a".to_owned(), "ran".to_owned())]);

    // Names, content, and what a step made: without a push, without a pull.
    there.run(&["data", "ls"]).good().says(&["table"]);
    there.run(&["data", "get", "table", "--out", "t.csv"]).good();
    assert_eq!(there.read("t.csv"), "id,x\n1,2\n");
    there.write("in.txt", "in\n");
    there.run(&["status"]).good().says(&["restore"]);
    assert_eq!(there.states(&[]), [("a".to_owned(), "restored".to_owned())]);
    assert_eq!(there.read("out.txt"), "in\n");

    // Both go on: no number means two contents, and each knows both.
    there.write("table.csv", "id,x\n1,3\n");
    there.run(&["data", "add", "table", "table.csv"]).good().says(&["table@2"]);
    here.write("table.csv", "id,x\n1,4\n2,2\n");
    here.run(&["data", "add", "table", "table.csv"]).good().says(&["table@3"]);
    here.run(&["data", "add", "table", "table.csv"]).good().says(&["holds this already"]);
    there.run(&["data", "diff", "table@2", "table@3"]).good();

    // The folder is a cache: it may be collected or lost.
    there.run(&["gc", "--yes"]).good();
    fs_err::remove_dir_all(here.path(".tidemill/store")).unwrap();
    here.run(&["data", "get", "table@2", "--out", "two.csv"]).good();
    assert_eq!(here.read("two.csv"), "id,x\n1,3\n");
    for machine in [&here, &there] {
        machine.run(&["data", "verify"]).good();
        machine.run(&["log", "verify"]).good();
    }
    let url = format!("file://{}", folder.path().display());
    here.run(&["gc", "--remote", &url, "--yes"]).fails(1, &["is the store of a project"]);
}

#[test]
fn nothing_is_acknowledged_that_the_store_does_not_have() {
    let folder = tempfile::tempdir().unwrap();
    let project = machine(&folder.path().join("file/below"));
    fs_err::write(folder.path().join("file"), "not a folder").unwrap();
    project.write("table.csv", "id\n1\n");
    project.run(&["data", "add", "table", "table.csv"]).fails(1, &["file/below"]);
    fs_err::remove_file(folder.path().join("file")).unwrap();
    project.run(&["data", "add", "table", "table.csv"]).good().says(&["table@1"]);
    let bad = Project::new("{project: bad, store: {options: {region: x}, remotes: {}}}");
    bad.run(&["check"]).fails(2, &["these options are of no address"]);
}

/// A machine whose folder in front of the store in `folder` is small.
fn small_machine(folder: &std::path::Path) -> Project {
    let url = format!("file://{}", folder.display());
    Project::new(&format!(
        "project: shared\nstore: {{url: \"{url}\", cache_size: 2 MB}}\npipeline:\n  a: {{run: cp in.bin out.bin, \
         deps: [in.bin], outs: [out.bin]}}\n"
    ))
}

fn size(folder: &std::path::Path) -> u64 {
    let entries = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(
            |entry| if entry.path().is_dir() { size(&entry.path()) } else { entry.metadata().unwrap().len() },
        )
        .sum()
}

/// Bytes that compression cannot shorten: Marsaglia's xorshift64.
pub(crate) fn noise(mut state: u64, length: usize) -> Vec<u8> {
    let mut noise = Vec::with_capacity(length + 8);
    while noise.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise
}

#[test]
fn a_small_folder_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (small_machine(folder.path()), small_machine(folder.path()));
    let (data, input) = (noise(7, 5_000_000), noise(9, 3_000_000));
    here.write("data.bin", &data);
    here.run(&["data", "add", "big", "data.bin"]).good().says(&["big@1"]);
    assert!(size(&here.path(".tidemill/store")) <= 2_000_000);
    here.write("in.bin", &input);
    assert_eq!(here.states(&[]), [("a".to_owned(), "ran".to_owned())]);
    // What a run used stays until it ends.
    assert!(size(&here.path(".tidemill/store")) <= 2_000_000);
    fs_err::remove_file(here.path("out.bin")).unwrap();
    assert_eq!(here.states(&[]), [("a".to_owned(), "restored".to_owned())]);
    there.run(&["data", "get", "big", "--out", "big.bin"]).good();
    assert_eq!(fs_err::read(there.path("big.bin")).unwrap(), data);
    there.write("in.bin", &input);
    assert_eq!(there.states(&[]), [("a".to_owned(), "restored".to_owned())]);
    assert_eq!(fs_err::read(there.path("out.bin")).unwrap(), input);
    for machine in [&here, &there] {
        assert!(size(&machine.path(".tidemill/store")) <= 2_000_000);
        machine.run(&["data", "verify"]).good();
        machine.run(&["data", "verify", "--remote"]).good().says(&["is intact"]);
        machine.run(&["gc", "--yes"]).good();
        assert!(size(&machine.path(".tidemill/store")) <= 2_000_000);
    }
    here.run(&["data", "get", "big", "--out", "again.bin"]).good();
    assert_eq!(fs_err::read(here.path("again.bin")).unwrap(), data);
}

#[test]
fn a_collection_at_the_address_keeps_what_any_machine_needs() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (machine(folder.path()), machine(folder.path()));
    here.write("table.csv", "id,x\n1,2\n");
    here.run(&["data", "add", "table", "table.csv"]).good();
    let texts: Vec<String> = (0..4).map(|at| format!("input {at}\n")).collect();
    for text in &texts {
        here.write("in.txt", text);
        assert_eq!(here.states(&[]), [("a".to_owned(), "ran".to_owned())]);
    }
    there.write("in.txt", "theirs\n");
    assert_eq!(there.states(&[]), [("a".to_owned(), "ran".to_owned())]);
    let results = || {
        let folders = fs_err::read_dir(folder.path().join("refs/results")).unwrap();
        folders.map(|entry| fs_err::read_dir(entry.unwrap().path()).unwrap().count()).sum::<usize>()
    };
    assert_eq!(results(), 5);
    // Nothing is removed before it was found to be of no use for the grace period.
    let told = here.run(&["gc", "--keep-runs", "1", "--json"]).good().json();
    assert_eq!(
        (&told["there"]["report"]["removed_packs"], &told["dry_run"]),
        (&0.into(), &true.into()),
        "{told}"
    );
    assert_eq!(told["there"]["others"].as_array().map(Vec::len), Some(1), "{told}");
    let waits = here.run(&["gc", "--keep-runs", "1", "--yes", "--json"]).good().json();
    assert_eq!(waits["there"]["report"]["removed_packs"], 0, "{waits}");
    assert_eq!(results(), 5);
    let gone = here.run(&["gc", "--keep-runs", "1", "--yes", "--grace", "0s", "--json"]).good().json();
    assert_eq!(gone["there"]["report"]["missing"], 0, "{gone}");
    assert!(gone["there"]["report"]["removed_bytes"].as_u64().unwrap() > 0, "{gone}");
    assert_eq!((&gone["there"]["forgotten_results"], results()), (&3.into(), 2), "{gone}");
    here.run(&["log"]).good().says(&["store.remote_swept"]);
    here.run(&["log", "verify"]).good();
    // The newest run here, the one there, and every version are there, for a machine that has nothing yet.
    let third = machine(folder.path());
    third.run(&["data", "get", "table", "--out", "t.csv"]).good();
    for (text, state) in
        [(texts[3].as_str(), "restored"), ("theirs\n", "restored"), (texts[0].as_str(), "ran")]
    {
        third.write("in.txt", text);
        assert_eq!(third.states(&[]), [("a".to_owned(), state.to_owned())], "{text}");
        assert_eq!(third.read("out.txt"), text);
    }
    for machine in [&here, &there, &third] {
        machine.run(&["data", "verify", "--remote"]).good();
    }
    // What went is sent again when it is made again.
    here.write("in.txt", &texts[1]);
    here.run(&["run"]).good();
    let fourth = machine(folder.path());
    fourth.write("in.txt", &texts[1]);
    assert_eq!(fourth.states(&[]), [("a".to_owned(), "restored".to_owned())]);
}

#[test]
fn a_machine_that_is_gone_is_forgotten_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let here = machine(folder.path());
    let gone = machine(folder.path());
    for (project, text) in [(&here, "here\n"), (&gone, "gone\n")] {
        project.write("in.txt", text);
        project.run(&["run"]).good();
    }
    let others = |ran: &serde_json::Value| ran["there"]["others"].as_array().unwrap().clone();
    let told = here.run(&["gc", "--json"]).good().json();
    assert_eq!(others(&told).len(), 1, "{told}");
    let other = &others(&told)[0];
    let name = format!("{}:{}", other["machine"].as_str().unwrap(), other["folder"].as_str().unwrap());
    assert!(name.ends_with(".tidemill/store"), "{name}");
    drop(gone);
    here.run(&["gc", "--forget", "nobody:/x"]).fails(2, &["no other folder `nobody:/x`", &name]);
    let done = here.run(&["gc", "--forget", &name, "--yes", "--grace", "0s", "--json"]).good().json();
    assert_eq!((others(&done).len(), done["there"]["forgotten_results"].as_u64()), (0, Some(1)), "{done}");
    let third = machine(folder.path());
    third.write("in.txt", "gone\n");
    assert_eq!(third.states(&[]), [("a".to_owned(), "ran".to_owned())]);
    third.write("in.txt", "here\n");
    assert_eq!(third.states(&[]), [("a".to_owned(), "restored".to_owned())]);
    let plain = Project::new("{project: plain}");
    plain.run(&["gc", "--forget", &name]).fails(2, &["store is in a folder"]);
}

#[test]
fn a_flipped_byte_at_the_address_is_named_and_mended() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (machine(folder.path()), machine(folder.path()));
    here.write("data.bin", noise(3, 300_000));
    here.run(&["data", "add", "big", "data.bin"]).good();
    let packs = || {
        let entries =
            fs_err::read_dir(folder.path().join("packs")).unwrap().map(|entry| entry.unwrap().path());
        entries.max_by_key(|path| fs_err::metadata(path).unwrap().len()).unwrap()
    };
    let flip = || {
        let mut bytes = fs_err::read(packs()).unwrap();
        bytes[150_000] ^= 1;
        fs_err::write(packs(), bytes).unwrap();
    };
    flip();
    let name = packs().file_name().unwrap().to_str().unwrap().to_owned();
    let found = here.run(&["data", "verify", "--remote"]).fails(1, &["--repair"]);
    assert!(found.stdout.contains(&name) && found.stdout.contains("needed by big@1"), "{found}");
    let found = there.run(&["data", "verify", "--remote", "--json"]);
    let json = found.json();
    assert_eq!((found.code, json["damage"].as_array().unwrap().len()), (Some(1), 1), "{found}");
    assert_eq!(json["damage"][0]["pack"], format!("packs/{name}"));
    there.run(&["data", "get", "big", "--out", "out.bin"]).fails(1, &["damaged object"]);
    // A machine that has it whole puts it in its place.
    let mended = here.run(&["data", "verify", "--remote", "--repair", "--json"]);
    assert_eq!(mended.json()["repaired"]["replaced"], 1, "{mended}");
    there.run(&["data", "verify", "--remote"]).good().says(&["is intact"]);
    there.run(&["data", "get", "big", "--out", "out.bin"]).good();
    assert_eq!(fs_err::read(there.path("out.bin")).unwrap(), noise(3, 300_000));
    // A remote is read in the same way by its name or address.
    let plain = Project::new("{project: plain}");
    let remote = tempfile::tempdir().unwrap();
    let url = format!("file://{}", remote.path().display());
    plain.write("data.bin", noise(4, 300_000));
    plain.run(&["data", "add", "big", "data.bin"]).good();
    plain.run(&["data", "push", "--remote", &url]).good();
    plain.run(&["data", "verify", "--remote", &url]).good().says(&["is intact"]);
    plain.run(&["data", "verify", "--remote"]).fails(2, &["no remote store is named"]);
}

#[test]
fn the_short_form_of_an_address_is_a_store_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let here = Project::new(&format!("project: short\nstore: {url}\n"));
    here.write("table.csv", "id\n1\n");
    here.run(&["data", "add", "table", "table.csv"]).good();
    let there = Project::new(&format!("project: short\nstore: {{url: \"{url}\"}}\n"));
    there.run(&["data", "get", "table", "--out", "t.csv"]).good();
    assert_eq!(there.read("t.csv"), "id\n1\n");
    let bad = Project::new("project: bad\nstore: data/store\n");
    bad.run(&["check"]).fails(2, &["`data/store` is no address", "{path: data/store}"]);
    let plain = Project::new("project: plain\nstore: {cache_size: 5 GB}\n");
    plain.run(&["check"]).fails(2, &["there is no `url`"]);
}

#[test]
fn two_runs_at_once_on_two_machines_share_a_small_folder_each() {
    let folder = tempfile::tempdir().unwrap();
    let step = |at: usize| {
        format!("  s{at}: {{run: cp in{at}.bin out{at}.bin, deps: [in{at}.bin], outs: [out{at}.bin]}}\n")
    };
    let steps: String = (0..4).map(step).collect();
    let url = format!("file://{}", folder.path().display());
    let text = format!("project: twice\nstore: {{url: \"{url}\", cache_size: 1 MB}}\npipeline:\n{steps}");
    let machines = [Project::new(&text), Project::new(&text)];
    for (seed, machine) in machines.iter().enumerate() {
        for at in 0..4 {
            machine.write(&format!("in{at}.bin"), noise(1 + at as u64 + 2 * seed as u64, 400_000));
        }
    }
    std::thread::scope(|scope| {
        for machine in &machines {
            scope.spawn(move || machine.run(&["run", "--jobs", "2", "--wait"]).good());
            // A second one in the same project waits for the first, and finds everything done.
            scope.spawn(move || machine.run(&["run", "--wait"]).good());
        }
    });
    for machine in &machines {
        for at in 0..4 {
            fs_err::remove_file(machine.path(format!("out{at}.bin"))).unwrap();
        }
        assert!(machine.states(&[]).iter().all(|(_, state)| state == "restored"));
        for at in 0..4 {
            let (input, out) = (machine.path(format!("in{at}.bin")), machine.path(format!("out{at}.bin")));
            assert_eq!(fs_err::read(input).unwrap(), fs_err::read(out).unwrap());
        }
        assert!(size(&machine.path(".tidemill/store")) <= 1_000_000);
    }
}
