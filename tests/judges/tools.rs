//! Tools that read any token: GnuTLS's, NSS's, OpenSSL's engine, OpenSSH's, Java's provider, SoftHSM2's,
//! pkcs11-dump.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use crate::judged::{
    DIGEST_KEY, Pins, TOKEN, WALLET, command, library, note_digest, note_typed, outcome, with_token,
};
use crate::list::compare;
use harness::Way;
use harness::module::{Boundary, Finished, SO_PIN, USER_PIN};

/// Runs OpenSSL so that it reads both PINs from its standard input. The second one is the code.
const WITHOUT_TERMINAL: &str = "setsid --wait ";

/// A run of a tool, and a word that it prints if it has found what it looks for.
struct Run {
    line: String,
    prints: &'static str,
}

/// Runs all of them, in this order: NSS's database is made before it is used, and a signature before it is verified.
pub(crate) fn judge(test: &str, way: Way) {
    with_token(test, way, Pins { so: SO_PIN, user: USER_PIN }, |boundary, alice| {
        let java = format!(
            "name=Countersign\nlibrary={}\nslotListIndex=0\nshowInfo=true\n",
            library(boundary).display()
        );
        boundary.note("java.cfg", &java);
        boundary.note("user.pin", USER_PIN);
        note_digest(boundary);
        note_typed(boundary, &[USER_PIN, &alice.code()]);
        std::fs::create_dir(boundary.folder().join("nss")).expect("the folder is ours");
        let observed: BTreeMap<String, String> =
            runs().iter().map(|run| (run.line.clone(), judged(run, boundary))).collect();
        compare("tools", way, &observed);
    });
}

/// `LIB` stands for the module, whose path differs in each run.
fn runs() -> Vec<Run> {
    let run = |line: &str, prints| Run { line: line.into(), prints };
    let private = format!("pkcs11:token={TOKEN};object={WALLET};type=private");
    let public = format!("pkcs11:token={TOKEN};object={WALLET};type=public");
    let signing = format!("pkcs11:token={TOKEN};object={DIGEST_KEY};type=private");
    let verifying = format!("pkcs11:token={TOKEN};object={DIGEST_KEY};type=public");
    let pkeyutl = "openssl pkeyutl -engine pkcs11 -keyform engine";
    let p11tool = "p11tool --batch --provider LIB";
    vec![
        run(&format!("{p11tool} --list-tokens"), TOKEN),
        run(&format!("{p11tool} --list-mechanisms pkcs11:token={TOKEN}"), "0xc3530001"),
        run(&format!("{p11tool} --list-all pkcs11:token={TOKEN}"), WALLET),
        run(&format!("{p11tool} --login --list-all pkcs11:token={TOKEN}"), "type=private"),
        run(&format!("{p11tool} --login --info {private}"), "CKA_NEVER_EXTRACTABLE"),
        run(&format!("{p11tool} --login --test-sign {private}"), "ok"),
        run(&format!("{p11tool} --generate-random 64 pkcs11:token={TOKEN}"), ""),
        run("certutil -N -d sql:nss --empty-password", ""),
        run("modutil -dbdir sql:nss -add countersign -libfile LIB -force", "added"),
        run("modutil -dbdir sql:nss -list countersign", TOKEN),
        run(&format!("certutil -K -d sql:nss -h {TOKEN} -f user.pin"), WALLET),
        run(&format!("certutil -L -d sql:nss -h {TOKEN} -f user.pin"), ""),
        run(
            &format!("openssl pkey -engine pkcs11 -inform engine -pubin -noout -text -in {public}"),
            "secp256k1",
        ),
        run(
            &format!("{WITHOUT_TERMINAL}{pkeyutl} -sign -inkey {signing} -in digest -out signature"),
            "key PIN for",
        ),
        run(
            &format!("{pkeyutl} -verify -pubin -inkey {verifying} -in digest -sigfile signature"),
            "Signature Verified Successfully",
        ),
        run("ssh-keygen -D LIB", WALLET),
        run(
            "keytool -list -keystore NONE -storetype PKCS11 -providerClass sun.security.pkcs11.SunPKCS11 \
             -providerArg java.cfg -storepass:env PIN",
            "CKF_LOGIN_REQUIRED",
        ),
        run("softhsm2-util --module LIB --show-slots", TOKEN),
        run("pkcs11-dump info LIB", "Countersign"),
        run("pkcs11-dump slotlist LIB", "Countersign"),
        run(&format!("pkcs11-dump dump LIB 0 {USER_PIN}"), "CKO_PRIVATE_KEY"),
    ]
}

fn judged(run: &Run, boundary: &Boundary) -> String {
    let finished = Finished::of(&mut typed(&run.line, boundary));
    let said = outcome(&finished, |finished| {
        let last = |text: &str| text.trim_end().lines().last().map(str::to_owned);
        last(&finished.stderr).or_else(|| last(&finished.stdout)).unwrap_or_else(|| "no reason".into())
    });
    let printed = finished.stdout + &finished.stderr;
    if finished.status.success() && !printed.contains(run.prints) {
        return format!("failed: {} was not printed", run.prints);
    }
    said
}

fn typed(line: &str, boundary: &Boundary) -> Command {
    let library = library(boundary);
    let mut words = line.split(' ');
    let mut command = command(boundary, words.next().expect("a line has a word"));
    command
        .args(words.map(|word| if word == "LIB" { library.as_path() } else { Path::new(word) }))
        .env("GNUTLS_PIN", USER_PIN)
        .env("PIN", USER_PIN)
        .env("PKCS11_MODULE_PATH", &library);
    if line.starts_with(WITHOUT_TERMINAL) {
        command.stdin(File::open(boundary.folder().join("typed")).expect("it was noted"));
    }
    command
}
