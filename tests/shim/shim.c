/*
 * A PKCS#11 module in front of another one. It imitates tokens that behave differently from SoftHSM2.
 *
 * `Shim` in tests/harness/src/module/shim.rs compiles it, puts a copy of its own into the folder of each boundary, and names that copy
 * as backing.module. A copy reads `shim.conf` in its own folder, and reads it again whenever the file was replaced. So a test can
 * change the behaviour of a running process, and every count below then starts again. After the file, the shim reads the
 * environment variable COUNTERSIGN_SHIM, whose lines are separated by ';'. One directive a line:
 *
 *   real PATH                     the module behind it
 *   gcm HOW                       how CKM_AES_GCM treats initialisation vectors:
 *       appended                    16 random bytes of its own, appended after the tag; the caller's IV is ignored
 *       appended-taken              the same, and it needs them there to decrypt, too
 *       written                     12 random bytes of its own, written into pIv as C_Encrypt ends
 *       zero-prepended              refuses any IV but zeros; puts its own 12 bytes before the ciphertext
 *       zero-prepended-taken        the same, and it needs them there to decrypt, too
 *       zero-written                refuses any IV but zeros; writes its own into pIv
 *       hidden                      an IV of its own that nobody learns: nothing can be decrypted
 *       none                        CKR_MECHANISM_INVALID
 *   slot KIND                     one more slot, listed first:
 *       clock                       its token's utcTime does not parse
 *       broken                      C_GetTokenInfo fails
 *       twin                        the first token again, under the serial number "twin"
 *   hardware MODEL                C_GetTokenInfo and C_GetSlotInfo show the token as hardware (CKF_HW_SLOT) of this model
 *   init-args TEXT                C_Initialize answers CKR_ARGUMENTS_BAD unless pReserved is this string
 *   fail FUNCTION RV [N [COUNT]]  the Nth call of the function (1) and COUNT - 1 more (1; 0: all) answer RV and do nothing
 *   after FUNCTION RV [N [COUNT]] the same, but the call is made first: it was done, and the answer was lost
 *   drop FUNCTION [N [COUNT]]     before that call all sessions are closed, which also ends the login
 *   forget FUNCTION [N [COUNT]]   before that call the login ends; the sessions stay
 *   slow FUNCTION MILLISECONDS    each call takes that much longer
 *
 * `shim.log` beside it gets one line for each call, "PID FUNCTION", and one for each fault, "PID FUNCTION fault WHAT".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXTRA_SLOT 0x5415
#define MOST_RULES 32
#define MOST_SESSIONS 64
#define IV_LEN 12
#define APPENDED_LEN 16

enum what { FAIL, AFTER, DROP, FORGET, SLOW };

struct rule {
    enum what what;
    char function[40];
    unsigned long value, from, count, seen;
};

/* An encryption under way: the place of the caller's IV, and the IV in use. */
struct encryption {
    CK_SESSION_HANDLE session;
    unsigned char *caller_iv;
    unsigned char iv[APPENDED_LEN];
    CK_ULONG iv_len;
};

/* A decryption whose IV comes with the ciphertext. */
struct decryption {
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
    CK_GCM_PARAMS parameters;
    unsigned char aad[256];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static CK_FUNCTION_LIST list, *real;
static char folder[PATH_MAX - 16], real_path[PATH_MAX], gcm[32], slot_kind[32], hardware[33], init_args[256];
static struct rule rules[MOST_RULES];
static int rule_count;
static struct stat read_at;
static struct encryption encryptions[MOST_SESSIONS];
static struct decryption decryptions[MOST_SESSIONS];

/* --- The configuration and the log. */

static void in_folder(char *path, const char *name) {
    if (!folder[0]) {
        Dl_info info;
        char file[PATH_MAX];
        if (!dladdr((void *)in_folder, &info) || !realpath(info.dli_fname, file))
            abort();
        snprintf(folder, sizeof folder, "%s", dirname(file));
    }
    snprintf(path, PATH_MAX, "%s/%s", folder, name);
}

static void note(const char *function, const char *fault) {
    char path[PATH_MAX], line[160];
    in_folder(path, "shim.log");
    int length = snprintf(line, sizeof line, fault ? "%d %s fault %s\n" : "%d %s\n", getpid(), function, fault);
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0 || write(file, line, length) != length)
        abort();
    close(file);
}

static void read_directive(const char *line) {
    static const char *const names[] = {"fail", "after", "drop", "forget", "slow"};
    char name[16] = "", function[40] = "";
    int used = 0;
    if (sscanf(line, "%15s %n", name, &used) < 1)
        return;
    const char *rest = line + used;
    if (!strcmp(name, "real"))
        snprintf(real_path, sizeof real_path, "%s", rest);
    else if (!strcmp(name, "gcm"))
        snprintf(gcm, sizeof gcm, "%s", rest);
    else if (!strcmp(name, "slot"))
        snprintf(slot_kind, sizeof slot_kind, "%s", rest);
    else if (!strcmp(name, "hardware"))
        snprintf(hardware, sizeof hardware, "%s", rest);
    else if (!strcmp(name, "init-args"))
        snprintf(init_args, sizeof init_args, "%s", rest);
    for (unsigned what = 0; what < sizeof names / sizeof *names; what++) {
        if (strcmp(name, names[what]) || rule_count == MOST_RULES)
            continue;
        struct rule *rule = &rules[rule_count++];
        *rule = (struct rule){.what = what, .from = 1, .count = 1};
        if (what == DROP || what == FORGET)
            sscanf(rest, "%39s %lu %lu", function, &rule->from, &rule->count);
        else
            sscanf(rest, "%39s %li %lu %lu", function, (long *)&rule->value, &rule->from, &rule->count);
        if (what == SLOW)
            rule->count = 0;
        memcpy(rule->function, function, sizeof function);
    }
}

static void read_lines(char *text, const char *separators) {
    char *rest = NULL;
    for (char *line = strtok_r(text, separators, &rest); line; line = strtok_r(NULL, separators, &rest))
        read_directive(line);
}

/* Reads the configuration, if the file was replaced since the last read. */
static void look(void) {
    char path[PATH_MAX], text[8192];
    struct stat now;
    in_folder(path, "shim.conf");
    if (stat(path, &now))
        abort();
    if (read_at.st_ino == now.st_ino && read_at.st_mtim.tv_sec == now.st_mtim.tv_sec &&
        read_at.st_mtim.tv_nsec == now.st_mtim.tv_nsec)
        return;
    read_at = now;
    gcm[0] = slot_kind[0] = hardware[0] = init_args[0] = 0;
    rule_count = 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (length < 0)
        abort();
    close(file);
    text[length] = 0;
    read_lines(text, "\n");
    if (getenv("COUNTERSIGN_SHIM")) {
        snprintf(text, sizeof text, "%s", getenv("COUNTERSIGN_SHIM"));
        read_lines(text, ";");
    }
}

static void on_all_slots(void (*end)(CK_SLOT_ID)) {
    CK_SLOT_ID slots[32];
    CK_ULONG count = 32;
    if (real->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK)
        for (CK_ULONG slot = 0; slot < count; slot++)
            end(slots[slot]);
}

static void drop(CK_SLOT_ID slot) {
    real->C_CloseAllSessions(slot);
}

static void forget(CK_SLOT_ID slot) {
    CK_SESSION_HANDLE session;
    if (real->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session) == CKR_OK) {
        real->C_Logout(session);
        real->C_CloseSession(session);
    }
}

/* Logs a call, and returns the answer that replaces it; *afterwards (`AFTER`) replaces the answer once the call is made. CKR_OK
 * stands for the answer of the module behind. */
static CK_RV enter(const char *function, CK_RV *afterwards) {
    unsigned long slow = 0;
    CK_RV answer = CKR_OK;
    *afterwards = CKR_OK;
    pthread_mutex_lock(&lock);
    look();
    note(function, NULL);
    for (struct rule *rule = rules; rule < rules + rule_count; rule++) {
        static const char *const names[] = {"fail", "after", "drop", "forget"};
        if (strcmp(rule->function, function))
            continue;
        rule->seen++;
        if (rule->seen < rule->from || (rule->count && rule->seen >= rule->from + rule->count))
            continue;
        if (rule->what == SLOW) {
            slow += rule->value;
            continue;
        }
        note(function, names[rule->what]);
        if (rule->what == FAIL)
            answer = rule->value;
        else if (rule->what == AFTER)
            *afterwards = rule->value;
        else
            on_all_slots(rule->what == DROP ? drop : forget);
    }
    pthread_mutex_unlock(&lock);
    if (slow)
        usleep(slow * 1000);
    return answer;
}

/* A function that is passed on to the module behind, except for its faults. */
#define PASS(name, parameters, arguments)                                                                                      \
    CK_RV name parameters {                                                                                                    \
        CK_RV afterwards, rv = enter(#name, &afterwards);                                                                      \
        if (rv == CKR_OK)                                                                                                      \
            rv = real->name arguments;                                                                                         \
        return rv == CKR_OK ? afterwards : rv;                                                                                 \
    }

PASS(C_Finalize, (void *reserved), (reserved))
PASS(C_GetInfo, (CK_INFO * info), (info))
PASS(C_CloseSession, (CK_SESSION_HANDLE session), (session))
PASS(C_GetSessionInfo, (CK_SESSION_HANDLE session, CK_SESSION_INFO *info), (session, info))
PASS(C_Login, (CK_SESSION_HANDLE session, CK_USER_TYPE user, unsigned char *pin, CK_ULONG len), (session, user, pin, len))
PASS(C_Logout, (CK_SESSION_HANDLE session), (session))
PASS(C_CreateObject, (CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *object),
     (session, template, count, object))
PASS(C_CopyObject,
     (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *copy),
     (session, object, template, count, copy))
PASS(C_DestroyObject, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object), (session, object))
PASS(C_GetAttributeValue, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template, CK_ULONG count),
     (session, object, template, count))
PASS(C_FindObjectsInit, (CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count), (session, template, count))
PASS(C_FindObjects, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG most, CK_ULONG *count),
     (session, objects, most, count))
PASS(C_FindObjectsFinal, (CK_SESSION_HANDLE session), (session))
PASS(C_GenerateKey,
     (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *key),
     (session, mechanism, template, count, key))
PASS(C_GenerateRandom, (CK_SESSION_HANDLE session, unsigned char *bytes, CK_ULONG len), (session, bytes, len))

/* --- Slots and tokens. */

CK_RV C_Initialize(void *arguments) {
    CK_RV afterwards, rv = enter("C_Initialize", &afterwards);
    const CK_C_INITIALIZE_ARGS *given = arguments;
    if (rv == CKR_OK && init_args[0]) {
        CK_C_INITIALIZE_ARGS without = {.flags = CKF_OS_LOCKING_OK};
        if (!given || !given->pReserved || strcmp(given->pReserved, init_args))
            return CKR_ARGUMENTS_BAD;
        return real->C_Initialize(&without);
    }
    return rv == CKR_OK ? real->C_Initialize(arguments) : rv;
}

static CK_SLOT_ID behind(CK_SLOT_ID slot) {
    CK_SLOT_ID slots[32];
    CK_ULONG count = 32;
    if (slot != EXTRA_SLOT || real->C_GetSlotList(CK_TRUE, slots, &count) != CKR_OK || !count)
        return slot;
    return slots[0];
}

CK_RV C_GetSlotList(unsigned char with_token, CK_SLOT_ID *slots, CK_ULONG *count) {
    CK_RV afterwards, rv = enter("C_GetSlotList", &afterwards);
    if (rv != CKR_OK || !slot_kind[0])
        return rv == CKR_OK ? real->C_GetSlotList(with_token, slots, count) : rv;
    CK_ULONG room = *count;
    if (slots && room == 0)
        return CKR_BUFFER_TOO_SMALL;
    *count = slots ? room - 1 : 0;
    rv = real->C_GetSlotList(with_token, slots ? slots + 1 : NULL, count);
    *count += 1;
    if (slots)
        slots[0] = EXTRA_SLOT;
    return rv;
}

CK_RV C_GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO *info) {
    CK_RV afterwards, rv = enter("C_GetSlotInfo", &afterwards);
    rv = rv == CKR_OK ? real->C_GetSlotInfo(behind(slot), info) : rv;
    if (rv == CKR_OK && hardware[0])
        info->flags |= CKF_HW_SLOT;
    return rv;
}

static void fill(unsigned char *field, size_t len, const char *text) {
    memset(field, ' ', len);
    memcpy(field, text, strlen(text) < len ? strlen(text) : len);
}

CK_RV C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO *info) {
    CK_RV afterwards, rv = enter("C_GetTokenInfo", &afterwards);
    if (rv == CKR_OK && slot == EXTRA_SLOT && !strcmp(slot_kind, "broken"))
        return CKR_DEVICE_ERROR;
    rv = rv == CKR_OK ? real->C_GetTokenInfo(behind(slot), info) : rv;
    if (rv == CKR_OK && slot == EXTRA_SLOT && !strcmp(slot_kind, "clock")) {
        info->flags |= CKF_CLOCK_ON_TOKEN;
        fill(info->utcTime, sizeof info->utcTime, "20:40:01");
    }
    if (rv == CKR_OK && slot == EXTRA_SLOT && !strcmp(slot_kind, "twin"))
        fill(info->serialNumber, sizeof info->serialNumber, "twin");
    if (rv == CKR_OK && hardware[0]) {
        fill(info->manufacturerID, sizeof info->manufacturerID, "Maker of tokens");
        fill(info->model, sizeof info->model, hardware);
    }
    return rv;
}

CK_RV C_GetMechanismInfo(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info) {
    CK_RV afterwards, rv = enter("C_GetMechanismInfo", &afterwards);
    if (rv == CKR_OK && type == CKM_AES_GCM && !strcmp(gcm, "none"))
        return CKR_MECHANISM_INVALID;
    return rv == CKR_OK ? real->C_GetMechanismInfo(behind(slot), type, info) : rv;
}

CK_RV C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify, CK_SESSION_HANDLE *session) {
    CK_RV afterwards, rv = enter("C_OpenSession", &afterwards);
    rv = rv == CKR_OK ? real->C_OpenSession(behind(slot), flags, application, notify, session) : rv;
    return rv == CKR_OK ? afterwards : rv;
}

CK_RV C_CloseAllSessions(CK_SLOT_ID slot) {
    CK_RV afterwards, rv = enter("C_CloseAllSessions", &afterwards);
    return rv == CKR_OK ? real->C_CloseAllSessions(behind(slot)) : rv;
}

/* --- CKM_AES_GCM. */

static int gcm_is(const char *prefix) {
    return !strncmp(gcm, prefix, strlen(prefix));
}

static int ends_with_taken(void) {
    return strlen(gcm) > 6 && !strcmp(gcm + strlen(gcm) - 6, "-taken");
}

static struct encryption *encryption_of(CK_SESSION_HANDLE session) {
    for (int i = 0; i < MOST_SESSIONS; i++)
        if (encryptions[i].session == session)
            return &encryptions[i];
    return NULL;
}

static struct decryption *decryption_of(CK_SESSION_HANDLE session) {
    for (int i = 0; i < MOST_SESSIONS; i++)
        if (decryptions[i].session == session)
            return &decryptions[i];
    return NULL;
}

CK_RV C_EncryptInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key) {
    static const unsigned char zeros[IV_LEN];
    CK_RV afterwards, rv = enter("C_EncryptInit", &afterwards);
    if (rv != CKR_OK || mechanism->mechanism != CKM_AES_GCM || !gcm[0])
        return rv == CKR_OK ? real->C_EncryptInit(session, mechanism, key) : rv;
    if (gcm_is("none"))
        return CKR_MECHANISM_INVALID;
    CK_GCM_PARAMS parameters = *(CK_GCM_PARAMS *)mechanism->pParameter;
    if (gcm_is("zero") && (parameters.iv_len != IV_LEN || memcmp(parameters.iv_ptr, zeros, IV_LEN)))
        return CKR_MECHANISM_PARAM_INVALID;
    struct encryption *operation = encryption_of(0);
    if (!operation)
        abort();
    *operation = (struct encryption){.session = session, .caller_iv = parameters.iv_ptr};
    operation->iv_len = gcm_is("appended") ? APPENDED_LEN : IV_LEN;
    if (getrandom(operation->iv, operation->iv_len, 0) != (ssize_t)operation->iv_len)
        abort();
    parameters.iv_ptr = operation->iv;
    parameters.iv_len = operation->iv_len;
    parameters.iv_bits = operation->iv_len * 8;
    CK_MECHANISM own = {CKM_AES_GCM, &parameters, sizeof parameters};
    rv = real->C_EncryptInit(session, &own, key);
    if (rv != CKR_OK)
        operation->session = 0;
    return rv;
}

CK_RV C_Encrypt(CK_SESSION_HANDLE session, unsigned char *data, CK_ULONG len, unsigned char *out, CK_ULONG *out_len) {
    CK_RV afterwards, rv = enter("C_Encrypt", &afterwards);
    struct encryption *operation = encryption_of(session);
    if (rv != CKR_OK || !operation)
        return rv == CKR_OK ? real->C_Encrypt(session, data, len, out, out_len) : rv;
    CK_ULONG more = gcm_is("appended") || gcm_is("zero-prepended") ? operation->iv_len : 0;
    CK_ULONG ahead = gcm_is("zero-prepended") ? more : 0, inner;
    rv = real->C_Encrypt(session, data, len, NULL, &inner);
    if (rv != CKR_OK || !out) {
        *out_len = inner + more;
        return rv;
    }
    if (*out_len < inner + more) {
        *out_len = inner + more;
        return CKR_BUFFER_TOO_SMALL;
    }
    rv = real->C_Encrypt(session, data, len, out + ahead, &inner);
    if (rv == CKR_OK) {
        if (more)
            memcpy(ahead ? out : out + inner, operation->iv, more);
        if (gcm_is("written") || gcm_is("zero-written"))
            memcpy(operation->caller_iv, operation->iv, IV_LEN);
        *out_len = inner + more;
    }
    operation->session = 0;
    return rv;
}

CK_RV C_DecryptInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key) {
    CK_RV afterwards, rv = enter("C_DecryptInit", &afterwards);
    if (rv != CKR_OK || mechanism->mechanism != CKM_AES_GCM)
        return rv == CKR_OK ? real->C_DecryptInit(session, mechanism, key) : rv;
    if (gcm_is("none"))
        return CKR_MECHANISM_INVALID;
    if (!ends_with_taken())
        return real->C_DecryptInit(session, mechanism, key);
    struct decryption *operation = decryption_of(0);
    if (!operation)
        abort();
    *operation = (struct decryption){.session = session, .key = key, .parameters = *(CK_GCM_PARAMS *)mechanism->pParameter};
    memcpy(operation->aad, operation->parameters.aad_ptr, operation->parameters.aad_len);
    operation->parameters.aad_ptr = operation->aad;
    return CKR_OK;
}

CK_RV C_Decrypt(CK_SESSION_HANDLE session, unsigned char *data, CK_ULONG len, unsigned char *out, CK_ULONG *out_len) {
    CK_RV afterwards, rv = enter("C_Decrypt", &afterwards);
    struct decryption *operation = decryption_of(session);
    if (rv != CKR_OK || !operation)
        return rv == CKR_OK ? real->C_Decrypt(session, data, len, out, out_len) : rv;
    CK_ULONG iv_len = gcm_is("appended") ? APPENDED_LEN : IV_LEN;
    if (len < iv_len) {
        operation->session = 0;
        return CKR_ENCRYPTED_DATA_LEN_RANGE;
    }
    if (!out) {
        *out_len = len;
        return CKR_OK;
    }
    CK_GCM_PARAMS parameters = operation->parameters;
    parameters.iv_ptr = gcm_is("appended") ? data + len - iv_len : data;
    parameters.iv_len = iv_len;
    parameters.iv_bits = iv_len * 8;
    CK_MECHANISM own = {CKM_AES_GCM, &parameters, sizeof parameters};
    rv = real->C_DecryptInit(session, &own, operation->key);
    if (rv == CKR_OK)
        rv = real->C_Decrypt(session, gcm_is("appended") ? data : data + iv_len, len - iv_len, out, out_len);
    operation->session = 0;
    return rv;
}

/* --- The one exported function. */

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **functions) {
    pthread_mutex_lock(&lock);
    look();
    if (!real) {
        void *library = dlopen(real_path, RTLD_NOW | RTLD_LOCAL);
        CK_C_GetFunctionList get = library ? (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList") : NULL;
        if (!get || get(&real) != CKR_OK) {
            fprintf(stderr, "shim: %s cannot be used: %s\n", real_path, dlerror());
            abort();
        }
        list = *real;
#define OWN(name) list.name = name
        OWN(C_Initialize), OWN(C_Finalize), OWN(C_GetInfo), OWN(C_GetFunctionList), OWN(C_GetSlotList);
        OWN(C_GetSlotInfo), OWN(C_GetTokenInfo), OWN(C_GetMechanismInfo), OWN(C_OpenSession), OWN(C_CloseSession);
        OWN(C_CloseAllSessions), OWN(C_GetSessionInfo), OWN(C_Login), OWN(C_Logout), OWN(C_CreateObject);
        OWN(C_CopyObject), OWN(C_DestroyObject), OWN(C_GetAttributeValue), OWN(C_FindObjectsInit), OWN(C_FindObjects);
        OWN(C_FindObjectsFinal), OWN(C_EncryptInit), OWN(C_Encrypt), OWN(C_DecryptInit), OWN(C_Decrypt);
        OWN(C_GenerateKey), OWN(C_GenerateRandom);
    }
    pthread_mutex_unlock(&lock);
    *functions = &list;
    return CKR_OK;
}
