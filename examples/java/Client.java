import java.io.Console;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import sun.security.pkcs11.wrapper.CK_ATTRIBUTE;
import sun.security.pkcs11.wrapper.CK_MECHANISM;
import sun.security.pkcs11.wrapper.PKCS11;
import sun.security.pkcs11.wrapper.PKCS11Exception;

/**
 * A backend in Java 17, with the JDK's own PKCS#11 wrapper: from a user's enrolment to a signed PSBT.
 *
 * <pre>
 * alias client='java --add-modules jdk.crypto.cryptoki \
 *     --add-exports jdk.crypto.cryptoki/sun.security.pkcs11.wrapper=ALL-UNNAMED examples/java/Client.java'
 *
 * client enrol USER
 * client confirm USER
 * client wallet WALLET USER
 * client sign WALLET USER UNSIGNED SIGNED
 * client login WALLET USER UNSIGNED SIGNED
 * </pre>
 *
 * COUNTERSIGN_MODULE names the module. The security officer's verbs (the first three) take the PIN from
 * COUNTERSIGN_SO_PIN, the backend's from COUNTERSIGN_USER_PIN. The program asks for codes on the terminal. It uses no
 * Bitcoin library: the PSBT comes from a watch-only wallet and goes back to it (the verbs psbt and finalise of another
 * example). See examples/README.md.
 */
public class Client {
    // PKCS#11.
    static final long CKU_SO = 0, CKU_USER = 1, CKU_CONTEXT_SPECIFIC = 2;
    static final long CKF_RW_SESSION = 2, CKF_SERIAL_SESSION = 4;
    static final long CKA_CLASS = 0, CKA_TOKEN = 1, CKA_LABEL = 3;
    static final long CKO_PUBLIC_KEY = 2, CKO_PRIVATE_KEY = 3, CKO_OTP_KEY = 8;
    static final long CKR_PIN_INCORRECT = 0xA0, CKR_PIN_LOCKED = 0xA4;

    // include/countersign.h has all of them. The L matters: without it the number is negative.
    static final long CKM_COUNTERSIGN_PSBT = 0xC3530001L;
    static final long CKM_COUNTERSIGN_TOTP_KEY_GEN = 0xC3530010L;
    static final long CKM_COUNTERSIGN_TOTP = 0xC3530011L;
    static final long CKM_COUNTERSIGN_WALLET_KEY_GEN = 0xC3530020L;
    static final long CKA_COUNTERSIGN_OTPAUTH_URI = 0xC3530100L;
    static final long CKA_COUNTERSIGN_NETWORK = 0xC3530110L;
    static final long CKA_COUNTERSIGN_USERS = 0xC3530111L;
    static final long CKA_COUNTERSIGN_POLICY = 0xC3530112L;
    static final long CKA_COUNTERSIGN_DESCRIPTOR = 0xC3530113L;
    static final long CKR_COUNTERSIGN_POLICY = 0xC3530001L;
    static final long CKR_COUNTERSIGN_PSBT_REFUSED = 0xC3530002L;
    static final long CKR_COUNTERSIGN_STATE = 0xC3530003L;
    static final long CKR_COUNTERSIGN_CLOCK = 0xC3530004L;

    private final PKCS11 module;
    private final long session;

    /** A session on the first token, of CKU_SO or CKU_USER. */
    Client(long role) throws IOException, PKCS11Exception {
        module = PKCS11.getInstance(System.getenv("COUNTERSIGN_MODULE"), "C_GetFunctionList", null, false);
        long slot = module.C_GetSlotList(true)[0];
        session = module.C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, null, null);
        module.C_Login(session, role, pin(System.getenv(role == CKU_SO ? "COUNTERSIGN_SO_PIN" : "COUNTERSIGN_USER_PIN")));
    }

    /** The module makes the secret inside. It comes out once, as the otpauth:// URI that an authenticator app scans. */
    void enrol(String user) throws PKCS11Exception {
        CK_ATTRIBUTE[] template = {
            new CK_ATTRIBUTE(CKA_CLASS, CKO_OTP_KEY),
            new CK_ATTRIBUTE(CKA_TOKEN, true),
            new CK_ATTRIBUTE(CKA_LABEL, utf8(user)),
        };
        long key = module.C_GenerateKey(session, new CK_MECHANISM(CKM_COUNTERSIGN_TOTP_KEY_GEN), template);
        // Show it to the user as a QR code, and keep no copy: anybody who has it can make codes.
        System.out.println(text(key, CKA_COUNTERSIGN_OTPAUTH_URI));
    }

    /** A first code shows that the user's app has the secret. Before that, the user's codes sign nothing. */
    void confirm(String user) throws PKCS11Exception {
        long key = find(CKO_OTP_KEY, user);
        byte[] code = utf8(askCode(user));
        module.C_VerifyInit(session, new CK_MECHANISM(CKM_COUNTERSIGN_TOTP), key);
        module.C_Verify(session, new byte[0], code);
        System.out.println(user + " is confirmed");
    }

    /** The module makes the key inside, and the key never leaves. A watch-only wallet needs only the descriptor. */
    void wallet(String label, String user) throws PKCS11Exception {
        CK_ATTRIBUTE[] publicTemplate = {
            new CK_ATTRIBUTE(CKA_LABEL, utf8(label)),
            new CK_ATTRIBUTE(CKA_TOKEN, true),
        };
        CK_ATTRIBUTE[] privateTemplate = {
            new CK_ATTRIBUTE(CKA_LABEL, utf8(label)),
            new CK_ATTRIBUTE(CKA_TOKEN, true),
            new CK_ATTRIBUTE(CKA_COUNTERSIGN_NETWORK, utf8("regtest")),
            new CK_ATTRIBUTE(CKA_COUNTERSIGN_USERS, utf8(user)),
            new CK_ATTRIBUTE(CKA_COUNTERSIGN_POLICY, utf8("max_transaction_sat = 100000\nmax_fee_sat = 5000\n")),
        };
        CK_MECHANISM mechanism = new CK_MECHANISM(CKM_COUNTERSIGN_WALLET_KEY_GEN);
        long publicKey = module.C_GenerateKeyPair(session, mechanism, publicTemplate, privateTemplate)[0];
        System.out.println(text(publicKey, CKA_COUNTERSIGN_DESCRIPTOR));
    }

    /** The first way: the code is in the mechanism's parameter. */
    void sign(String label, String user, Path unsigned, Path signed) throws IOException, PKCS11Exception {
        long key = find(CKO_PRIVATE_KEY, label);
        byte[] approval = approval(user, askCode(user));
        module.C_SignInit(session, new CK_MECHANISM(CKM_COUNTERSIGN_PSBT, approval), key);
        Files.write(signed, countersign(Files.readAllBytes(unsigned)));
    }

    /** The second way: between C_SignInit and the signature the code is the PIN of a context-specific login. */
    void login(String label, String user, Path unsigned, Path signed) throws IOException, PKCS11Exception {
        long key = find(CKO_PRIVATE_KEY, label);
        char[] pin = pin(user + ":" + askCode(user));
        module.C_SignInit(session, new CK_MECHANISM(CKM_COUNTERSIGN_PSBT), key);
        module.C_Login(session, CKU_CONTEXT_SPECIFIC, pin);
        Files.write(signed, countersign(Files.readAllBytes(unsigned)));
    }

    byte[] countersign(byte[] psbt) throws IOException, PKCS11Exception {
        try {
            return module.C_Sign(session, psbt);
        } catch (PKCS11Exception refusal) {
            long rv = refusal.getErrorCode();
            if (rv == CKR_COUNTERSIGN_POLICY || rv == CKR_COUNTERSIGN_PSBT_REFUSED) {
                System.err.println(sentence(module.C_GetSessionInfo(session).ulDeviceError));
            }
            throw refusal;
        }
    }

    /** The rule that refused: its tag and sentence, as countersign.h lists them. */
    static String sentence(long number) throws IOException {
        if (number == 0) return "the module gives no rule number; look in the log of the boundary";
        for (String place : new String[] {"include/countersign.h", "/usr/include/countersign.h"}) {
            if (!Files.exists(Path.of(place))) continue;
            String header = Files.readString(Path.of(place));
            Matcher name = Pattern.compile("(?m)^#define (CS_RULE_\\w+)\\s+" + number + "UL$").matcher(header);
            if (!name.find()) break;
            Matcher rule = Pattern.compile("RULE\\(" + name.group(1) + ", \"(.*?)\", \"(.*?)\"\\)").matcher(header);
            if (rule.find()) return rule.group(1) + ": " + rule.group(2);
        }
        return "rule " + number + ", which is newer than this countersign.h";
    }

    /** COUNTERSIGN_APPROVAL: version 1, factor 1 (TOTP), both lengths, both texts padded with zeros. */
    static byte[] approval(String user, String code) {
        byte[] userBytes = utf8(user), codeBytes = utf8(code);
        if (userBytes.length > 60 || codeBytes.length > 64) throw new IllegalArgumentException("too long");
        byte[] record = Arrays.copyOf(new byte[] {1, 1, (byte) userBytes.length, (byte) codeBytes.length}, 128);
        System.arraycopy(userBytes, 0, record, 4, userBytes.length);
        System.arraycopy(codeBytes, 0, record, 64, codeBytes.length);
        return record;
    }

    static String askCode(String user) {
        Console console = System.console();
        if (console == null) throw new IllegalStateException("codes are asked for on a terminal");
        return new String(console.readPassword("code of %s: ", user));
    }

    long find(long objectClass, String label) throws PKCS11Exception {
        CK_ATTRIBUTE[] template = {
            new CK_ATTRIBUTE(CKA_CLASS, objectClass), new CK_ATTRIBUTE(CKA_LABEL, utf8(label)),
        };
        module.C_FindObjectsInit(session, template);
        long[] found = module.C_FindObjects(session, 1);
        module.C_FindObjectsFinal(session);
        if (found.length == 0) throw new IllegalArgumentException("no object of this kind is called " + label);
        return found[0];
    }

    String text(long object, long type) throws PKCS11Exception {
        CK_ATTRIBUTE[] wanted = {new CK_ATTRIBUTE(type)};
        module.C_GetAttributeValue(session, object, wanted);
        return new String((byte[]) wanted[0].pValue, StandardCharsets.UTF_8);
    }

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** PINs are UTF-8 in PKCS#11, but the wrapper passes the low byte of each char. So each char here is one byte of UTF-8. */
    static char[] pin(String text) {
        return new String(utf8(text), StandardCharsets.ISO_8859_1).toCharArray();
    }

    static String explain(PKCS11Exception refusal) {
        long rv = refusal.getErrorCode();
        if (rv == CKR_PIN_INCORRECT) {
            return "CKR_PIN_INCORRECT: the code is wrong, used or stale (or a PIN is wrong); take the next code";
        } else if (rv == CKR_PIN_LOCKED) {
            return "CKR_PIN_LOCKED: too many codes or PINs were wrong, so this one was not checked; wait, or have the user unlocked";
        } else if (rv == CKR_COUNTERSIGN_POLICY) {
            return "CKR_COUNTERSIGN_POLICY: the wallet's policy refuses the transaction, and the code is spent (rule 33: it is frozen, and nothing is spent)";
        } else if (rv == CKR_COUNTERSIGN_PSBT_REFUSED) {
            return "CKR_COUNTERSIGN_PSBT_REFUSED: the PSBT breaks a rule; the code is not spent";
        } else if (rv == CKR_COUNTERSIGN_STATE) {
            return "CKR_COUNTERSIGN_STATE: the module does not trust the sealed state; run countersign doctor";
        } else if (rv == CKR_COUNTERSIGN_CLOCK) {
            return "CKR_COUNTERSIGN_CLOCK: the module does not trust the machine's clock; run countersign clock show";
        }
        return refusal.getMessage();
    }

    public static void main(String[] words) throws IOException {
        String verb = words.length + " " + (words.length == 0 ? "" : words[0]);
        try {
            switch (verb) {
                case "2 enrol" -> new Client(CKU_SO).enrol(words[1]);
                case "2 confirm" -> new Client(CKU_SO).confirm(words[1]);
                case "3 wallet" -> new Client(CKU_SO).wallet(words[1], words[2]);
                case "5 sign" -> new Client(CKU_USER).sign(words[1], words[2], Path.of(words[3]), Path.of(words[4]));
                case "5 login" -> new Client(CKU_USER).login(words[1], words[2], Path.of(words[3]), Path.of(words[4]));
                default -> throw new IllegalArgumentException("usage: enrol | confirm | wallet | sign | login, as above");
            }
        } catch (PKCS11Exception refusal) {
            System.err.println(explain(refusal));
            System.exit(1);
        } catch (IllegalArgumentException | IllegalStateException error) {
            System.err.println(error.getMessage());
            System.exit(2);
        }
    }
}
