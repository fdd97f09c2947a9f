/* A backend in C: from a user's enrolment to a signed PSBT.
 *
 *     cc -o target/client -Iinclude -I/usr/include/p11-kit-1 examples/c/client.c
 *
 *     target/client enrol USER
 *     target/client confirm USER
 *     target/client wallet WALLET USER
 *     target/client sign WALLET USER UNSIGNED SIGNED
 *     target/client login WALLET USER UNSIGNED SIGNED
 *
 * COUNTERSIGN_MODULE names the module. The security officer's verbs (the first three) take the PIN from
 * COUNTERSIGN_SO_PIN, the backend's from COUNTERSIGN_USER_PIN. The program asks for codes on the terminal. It uses no
 * Bitcoin library: the PSBT comes from a watch-only wallet and goes back to it (the verbs psbt and finalise of another
 * example). See examples/README.md.
 *
 * It uses p11-kit's PKCS#11 header (Debian: libp11-kit-dev). Any other will do.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <p11-kit/pkcs11.h>

#include "countersign.h"

/* A PSBT has at most 16 MiB. */
enum { MAX_PSBT = 16 << 20, MAX_CODE = 64 };

static CK_FUNCTION_LIST_PTR module;
static CK_SESSION_HANDLE session;

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(EXIT_FAILURE);
}

/* Says which rule refused, if one did. */
static void print_rule(void)
{
    CK_SESSION_INFO info;
    if (module->C_GetSessionInfo(session, &info) != CKR_OK)
        return;
    switch (info.ulDeviceError) {
#define SENTENCE(number, tag, sentence) \
    case number: \
        fprintf(stderr, "%s: %s\n", tag, sentence); \
        break;
        COUNTERSIGN_RULES(SENTENCE)
    case 0:
        fprintf(stderr, "the module gives no rule number; look in the log of the boundary\n");
        break;
    default:
        fprintf(stderr, "rule %lu, which is newer than this countersign.h\n", info.ulDeviceError);
    }
}

/* Ends the program unless the call succeeded, with a message that says what to do. */
static void check(CK_RV rv, const char *call)
{
    switch (rv) {
    case CKR_OK:
        return;
    case CKR_PIN_INCORRECT:
        fail("CKR_PIN_INCORRECT: the code is wrong, used or stale (or a PIN is wrong); take the next code");
    case CKR_PIN_LOCKED:
        fail("CKR_PIN_LOCKED: too many codes or PINs were wrong, so this one was not checked; wait, or have the user unlocked");
    case CKR_COUNTERSIGN_POLICY:
        print_rule();
        fail("CKR_COUNTERSIGN_POLICY: the wallet's policy refuses the transaction, and the code is spent (rule 33: it is frozen, and nothing is spent)");
    case CKR_COUNTERSIGN_PSBT_REFUSED:
        print_rule();
        fail("CKR_COUNTERSIGN_PSBT_REFUSED: the PSBT breaks a rule; the code is not spent");
    case CKR_COUNTERSIGN_STATE:
        fail("CKR_COUNTERSIGN_STATE: the module does not trust the sealed state; run countersign doctor");
    case CKR_COUNTERSIGN_CLOCK:
        fail("CKR_COUNTERSIGN_CLOCK: the module does not trust the machine's clock; run countersign clock show");
    default:
        fprintf(stderr, "%s answered 0x%08lX\n", call, rv);
        exit(EXIT_FAILURE);
    }
}

static char *variable(const char *name)
{
    char *value = getenv(name);
    if (value == NULL) {
        fprintf(stderr, "%s is not set\n", name);
        exit(EXIT_FAILURE);
    }
    return value;
}

/* Asks on the terminal, without an echo. */
static void ask_code(const char *user, char code[MAX_CODE])
{
    struct termios shown, hidden;
    int terminal = tcgetattr(STDIN_FILENO, &shown) == 0;
    if (terminal) {
        hidden = shown;
        hidden.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    }
    fprintf(stderr, "code of %s: ", user);
    char *line = fgets(code, MAX_CODE, stdin);
    if (terminal)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    fputc('\n', stderr);
    if (line == NULL)
        fail("no code was given");
    code[strcspn(code, "\n")] = '\0';
}

/* A session on the first token, of CKU_SO or CKU_USER. */
static void open_session(CK_USER_TYPE role)
{
    void *library = dlopen(variable("COUNTERSIGN_MODULE"), RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        fail(dlerror());
    CK_C_GetFunctionList get_function_list;
    *(void **)&get_function_list = dlsym(library, "C_GetFunctionList");
    if (get_function_list == NULL)
        fail("COUNTERSIGN_MODULE is not a PKCS#11 module");
    check(get_function_list(&module), "C_GetFunctionList");

    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
    check(module->C_Initialize(&arguments), "C_Initialize");
    CK_SLOT_ID slot;
    CK_ULONG slots = 1;
    check(module->C_GetSlotList(CK_TRUE, &slot, &slots), "C_GetSlotList");
    if (slots == 0)
        fail("there is no token");
    check(module->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session), "C_OpenSession");
    char *pin = variable(role == CKU_SO ? "COUNTERSIGN_SO_PIN" : "COUNTERSIGN_USER_PIN");
    check(module->C_Login(session, role, (CK_UTF8CHAR *)pin, strlen(pin)), "C_Login");
}

static CK_OBJECT_HANDLE find(CK_OBJECT_CLASS object_class, char *label)
{
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &object_class, sizeof object_class},
        {CKA_LABEL, label, strlen(label)},
    };
    CK_OBJECT_HANDLE object;
    CK_ULONG found;
    check(module->C_FindObjectsInit(session, template, 2), "C_FindObjectsInit");
    check(module->C_FindObjects(session, &object, 1, &found), "C_FindObjects");
    check(module->C_FindObjectsFinal(session), "C_FindObjectsFinal");
    if (found == 0)
        fail("no object of this kind has that name");
    return object;
}

static void print_text(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type)
{
    char text[4096];
    CK_ATTRIBUTE attribute = {type, text, sizeof text};
    check(module->C_GetAttributeValue(session, object, &attribute, 1), "C_GetAttributeValue");
    printf("%.*s\n", (int)attribute.ulValueLen, text);
}

/* The module makes the secret inside. It comes out once, as the otpauth:// URI that an authenticator app scans. */
static void enrol(char *user)
{
    open_session(CKU_SO);
    CK_OBJECT_CLASS otp_key = CKO_OTP_KEY;
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &otp_key, sizeof otp_key},
        {CKA_TOKEN, &yes, sizeof yes},
        {CKA_LABEL, user, strlen(user)},
    };
    CK_MECHANISM mechanism = {CKM_COUNTERSIGN_TOTP_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE key;
    check(module->C_GenerateKey(session, &mechanism, template, 3, &key), "C_GenerateKey");
    /* Show it to the user as a QR code, and keep no copy: anybody who has it can make codes. */
    print_text(key, CKA_COUNTERSIGN_OTPAUTH_URI);
}

/* A first code shows that the user's app has the secret. Before that, the user's codes sign nothing. */
static void confirm(char *user)
{
    open_session(CKU_SO);
    CK_OBJECT_HANDLE key = find(CKO_OTP_KEY, user);
    char code[MAX_CODE];
    ask_code(user, code);
    CK_MECHANISM mechanism = {CKM_COUNTERSIGN_TOTP, NULL, 0};
    check(module->C_VerifyInit(session, &mechanism, key), "C_VerifyInit");
    check(module->C_Verify(session, NULL, 0, (CK_BYTE *)code, strlen(code)), "C_Verify");
    printf("%s is confirmed\n", user);
}

/* The module makes the key inside, and the key never leaves. A watch-only wallet needs only the descriptor. */
static void wallet(char *label, char *user)
{
    open_session(CKU_SO);
    CK_BBOOL yes = CK_TRUE;
    char network[] = "regtest", policy[] = "max_transaction_sat = 100000\nmax_fee_sat = 5000\n";
    CK_ATTRIBUTE public_template[] = {
        {CKA_LABEL, label, strlen(label)},
        {CKA_TOKEN, &yes, sizeof yes},
    };
    CK_ATTRIBUTE private_template[] = {
        {CKA_LABEL, label, strlen(label)},
        {CKA_TOKEN, &yes, sizeof yes},
        {CKA_COUNTERSIGN_NETWORK, network, strlen(network)},
        {CKA_COUNTERSIGN_USERS, user, strlen(user)},
        {CKA_COUNTERSIGN_POLICY, policy, strlen(policy)},
    };
    CK_MECHANISM mechanism = {CKM_COUNTERSIGN_WALLET_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE public_key, private_key;
    check(module->C_GenerateKeyPair(session, &mechanism, public_template, 2, private_template, 5, &public_key,
                                    &private_key),
          "C_GenerateKeyPair");
    print_text(public_key, CKA_COUNTERSIGN_DESCRIPTOR);
}

/* Calls C_Sign on one file and writes another. */
static void countersign(const char *unsigned_path, const char *signed_path)
{
    CK_BYTE *psbt = malloc(MAX_PSBT);
    FILE *file = fopen(unsigned_path, "rb");
    if (psbt == NULL || file == NULL)
        fail("the unsigned PSBT cannot be read");
    size_t psbt_len = fread(psbt, 1, MAX_PSBT, file);
    fclose(file);

    /* Asking for the length does not spend the code, and the operation goes on. The second call checks the code, once. */
    CK_ULONG answer_len;
    check(module->C_Sign(session, psbt, psbt_len, NULL, &answer_len), "C_Sign");
    CK_BYTE *answer = malloc(answer_len);
    if (answer == NULL)
        fail("no memory");
    check(module->C_Sign(session, psbt, psbt_len, answer, &answer_len), "C_Sign");

    file = fopen(signed_path, "wb");
    if (file == NULL || fwrite(answer, 1, answer_len, file) != answer_len || fclose(file) != 0)
        fail("the signed PSBT cannot be written");
    free(answer);
    free(psbt);
}

/* The first way: the code is in the mechanism's parameter. */
static void sign(char *label, char *user, char *unsigned_path, char *signed_path)
{
    open_session(CKU_USER);
    CK_OBJECT_HANDLE key = find(CKO_PRIVATE_KEY, label);
    char code[MAX_CODE];
    ask_code(user, code);
    /* Members that are not named here are zero, as the padding must be. */
    COUNTERSIGN_APPROVAL approval = {
        .version = COUNTERSIGN_APPROVAL_VERSION,
        .factor = COUNTERSIGN_APPROVAL_FACTOR_TOTP,
        .userLen = (unsigned char)strlen(user),
        .codeLen = (unsigned char)strlen(code),
    };
    if (strlen(user) > sizeof approval.user || strlen(code) > sizeof approval.code)
        fail("the name or the code is too long");
    memcpy(approval.user, user, strlen(user));
    memcpy(approval.code, code, strlen(code));
    CK_MECHANISM mechanism = {CKM_COUNTERSIGN_PSBT, &approval, sizeof approval};
    check(module->C_SignInit(session, &mechanism, key), "C_SignInit");
    countersign(unsigned_path, signed_path);
}

/* The second way: between C_SignInit and C_Sign the code is the PIN of a context-specific login. */
static void sign_by_login(char *label, char *user, char *unsigned_path, char *signed_path)
{
    open_session(CKU_USER);
    CK_OBJECT_HANDLE key = find(CKO_PRIVATE_KEY, label);
    char code[MAX_CODE], pin[256];
    ask_code(user, code);
    if (snprintf(pin, sizeof pin, "%s:%s", user, code) >= (int)sizeof pin)
        fail("the user's name is too long");
    CK_MECHANISM mechanism = {CKM_COUNTERSIGN_PSBT, NULL, 0};
    check(module->C_SignInit(session, &mechanism, key), "C_SignInit");
    check(module->C_Login(session, CKU_CONTEXT_SPECIFIC, (CK_UTF8CHAR *)pin, strlen(pin)), "C_Login");
    countersign(unsigned_path, signed_path);
}

int main(int count, char **words)
{
    if (count == 3 && strcmp(words[1], "enrol") == 0)
        enrol(words[2]);
    else if (count == 3 && strcmp(words[1], "confirm") == 0)
        confirm(words[2]);
    else if (count == 4 && strcmp(words[1], "wallet") == 0)
        wallet(words[2], words[3]);
    else if (count == 6 && strcmp(words[1], "sign") == 0)
        sign(words[2], words[3], words[4], words[5]);
    else if (count == 6 && strcmp(words[1], "login") == 0)
        sign_by_login(words[2], words[3], words[4], words[5]);
    else
        fail("usage: enrol | confirm | wallet | sign | login, as above");
    /* This also closes the session and logs out. */
    check(module->C_Finalize(NULL), "C_Finalize");
    return EXIT_SUCCESS;
}
