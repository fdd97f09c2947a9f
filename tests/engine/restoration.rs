//! Who decides whether a restored store is accepted, once the store has officers: on real files, with the command line.

use std::fs;

use countersign::admin::Act;
use countersign::kernel::officer::Council;
use countersign::kernel::pin::Role;
use data_encoding::HEXLOWER;
use serde_json::json;

use harness::engine::officers::Signers;
use harness::module::cli::{Answer, Cli};
use harness::module::{Boundary, SO_PIN, in_boundary, this_test};

/// A token with a user, an older copy of its store, and officers who came after that copy.
struct Scene<'a> {
    cli: Cli<'a>,
    boundary: &'a Boundary,
    officers: Signers,
}

impl Scene<'_> {
    fn new(boundary: &Boundary) -> Scene<'_> {
        let (cli, _) = Cli::new(boundary);
        let scene = Scene { cli, boundary, officers: Signers::new(3) };
        boundary.save("before");
        scene.set(&scene.council());
        boundary.save("since");
        scene
    }

    fn council(&self) -> Council {
        self.officers.council(2, 24)
    }

    /// Sets the officers, in an engine of this process.
    fn set(&self, council: &Council) {
        let engine = countersign::open::open_engine().expect("it opens");
        let login = engine.login(Role::So, SO_PIN.as_bytes()).expect("the PIN is right");
        let administrator = engine.administrator(&login).expect("the login is not over");
        let set = engine.perform(administrator.approve(Act::SetOfficers(Box::new(council.clone()))));
        assert!(set.is_ok(), "{:?}", set.err());
    }

    /// The officers of the store that is there now.
    fn in_force(&self) -> Option<Council> {
        countersign::open::open_engine().expect("it opens").council().expect("it is read")
    }

    fn restore(&self, arguments: &[&str]) -> Answer {
        let mut command = self.cli.command(&[], &[&["state", "restore", "--yes"], arguments].concat());
        Cli::answer(command.env("COUNTERSIGN_SO_PIN", SO_PIN), "")
    }

    /// Writes the council into a file, as its officers have it.
    fn write_council(&self, name: &str, council: &Council) {
        fs::write(self.boundary.folder().join(name), council.to_string()).expect("the folder is ours");
    }

    /// The act that a refused restoration has written, with its name.
    fn act(&self, refused: &Answer) -> (String, String) {
        let next = refused.json["error"]["next"].as_str().expect("what to do next");
        let name = next.rsplit(' ').next().expect("the file comes last").to_owned();
        assert!(name.ends_with(".act"), "{next}");
        (fs::read_to_string(self.boundary.folder().join(&name)).expect("it was written"), name)
    }

    fn sign(&self, name: &str, text: &str, officers: &[usize]) {
        for officer in officers {
            let file = self.boundary.folder().join(format!("{name}.{officer}.minisig"));
            fs::write(file, self.officers.sign(*officer, text)).expect("the folder is ours");
        }
    }
}

fn assert_refused(answer: &Answer, words: &str) {
    let what = answer.json["error"]["what"].as_str().unwrap_or_default();
    assert!(!answer.success && what.contains(words), "{words:?} is not in {}", answer.json);
    assert!(what.contains("nothing was changed"), "{what}");
}

#[test]
fn act_restore_a_copy_from_before_there_were_officers_is_accepted_by_those_that_the_anchor_names() {
    in_boundary(this_test!(), |boundary| {
        let scene = Scene::new(boundary);
        let council = scene.council();
        boundary.restore_store("before");

        // The security officer alone, who was enough when the copy was made.
        assert_refused(&scene.restore(&[]), &council.digest().to_string());
        // With officers of their own.
        let own = Signers::new(1).council(1, 1);
        scene.write_council("own", &own);
        assert_refused(&scene.restore(&["--council", "own"]), &own.digest().to_string());
        fs::write(boundary.folder().join("none"), "threshold 1\n").expect("the folder is ours");
        let none = scene.restore(&["--council", "none"]);
        assert!(
            !none.success
                && none.json["error"]["what"].as_str().is_some_and(|what| what.contains("no council"))
        );

        // With the act that the officers sign.
        scene.write_council("council", &council);
        let refused = scene.restore(&["--council", "council"]);
        assert_refused(&refused, "officers decide");
        for key in council.officers().keys() {
            assert!(refused.stderr.contains(key.line()), "{}", refused.stderr);
        }
        let (text, name) = scene.act(&refused);
        assert!(text.contains("\ndo restore\n"), "{text}");
        let taking = ["--council", "council", "--act", name.as_str()];
        assert_refused(&scene.restore(&taking), "0 of the 2 officers");
        scene.sign(&name, &text, &[0]);
        fs::copy(
            boundary.folder().join(format!("{name}.0.minisig")),
            boundary.folder().join(format!("{name}.again.minisig")),
        )
        .expect("the folder is ours");
        scene.sign(&name, &text, &[scene.officers.stranger()]);
        assert_refused(&scene.restore(&taking), "1 of the 2 officers");
        assert!(boundary.folder().join(&name).exists(), "the act is still there");
        scene.sign(&name, &text, &[2]);
        let taken = scene.restore(&taking);
        assert!(taken.success, "{}\n{}", taken.json, taken.stderr);
        assert_eq!(taken.json["restored"]["epoch"], 1);

        // The officers are back, although the copy had none, and the audit names those who agreed.
        assert_eq!(scene.in_force(), Some(council.clone()));
        let verified = scene.cli.does(&["audit", "verify"]);
        let gap = &verified["audit"]["restored"][0];
        let key = |officer| {
            let line = scene.officers.line(officer);
            let key = council.officers().keys().iter().find(|key| key.line() == line).expect("an officer");
            HEXLOWER.encode(key.public_key())
        };
        let mut agreed = [key(0), key(2)];
        agreed.sort();
        assert_eq!(gap["officers"], json!(agreed), "{gap}");

        // The same copy put back again is another restoration, which nobody has agreed to.
        boundary.restore_store("before");
        assert_refused(&scene.restore(&taking), "another state of the anchor");
        boundary.restore_store("since");
        assert_refused(&scene.restore(&taking), "the act is not about this restoration");
    });
}

#[test]
fn act_restore_a_store_whose_token_was_put_back_is_accepted_by_its_own_officers() {
    in_boundary(this_test!(), |boundary| {
        let scene = Scene::new(boundary);
        fs::remove_dir_all(boundary.tokens()).expect("the folder is ours");
        let older = boundary.folder().with_file_name("before").join("tokens");
        harness::module::copy_folder(&older, &boundary.tokens());
        let refused = scene.restore(&[]);
        assert_refused(&refused, "officers decide");
        let (text, name) = scene.act(&refused);
        scene.sign(&name, &text.replace("epoch 0", "epoch 1"), &[0, 1]);
        assert_refused(&scene.restore(&["--act", &name]), "0 of the 2 officers");
        scene.sign(&name, &text, &[0, 1]);
        let taken = scene.restore(&["--act", &name]);
        assert!(taken.success, "{}\n{}", taken.json, taken.stderr);
        assert_eq!(scene.in_force(), Some(scene.council()));
    });
}
