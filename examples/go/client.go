// A backend in Go (github.com/miekg/pkcs11), from a user's enrolment to a signed PSBT.
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go build -o target/client examples/go/client.go
//
//	target/client enrol USER
//	target/client confirm USER
//	target/client wallet WALLET USER
//	target/client sign WALLET USER UNSIGNED SIGNED
//	target/client login WALLET USER UNSIGNED SIGNED
//
// COUNTERSIGN_MODULE names the module. The security officer's verbs (the first three) take the PIN from
// COUNTERSIGN_SO_PIN, the backend's from COUNTERSIGN_USER_PIN. The program asks for codes on the terminal. It uses no
// Bitcoin library: the PSBT comes from a watch-only wallet and goes back to it (the verbs psbt and finalise of another
// example). See examples/README.md.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"

	"github.com/miekg/pkcs11"
)

// include/countersign.h has all of them. CKO_OTP_KEY is PKCS#11's.
const (
	ckmCountersignPSBT         = 0xC3530001
	ckmCountersignTOTPKeyGen   = 0xC3530010
	ckmCountersignTOTP         = 0xC3530011
	ckmCountersignWalletKeyGen = 0xC3530020
	ckaCountersignOtpauthURI   = 0xC3530100
	ckaCountersignNetwork      = 0xC3530110
	ckaCountersignUsers        = 0xC3530111
	ckaCountersignPolicy       = 0xC3530112
	ckaCountersignDescriptor   = 0xC3530113
	ckrCountersignPolicy       = 0xC3530001
	ckrCountersignPSBTRefused  = 0xC3530002
	ckrCountersignState        = 0xC3530003
	ckrCountersignClock        = 0xC3530004
	ckoOTPKey                  = 8
)

var refusals = map[pkcs11.Error]string{
	ckrCountersignPolicy:      "CKR_COUNTERSIGN_POLICY: the wallet's policy refuses the transaction, and the code is spent (rule 33: it is frozen, and nothing is spent)",
	ckrCountersignPSBTRefused: "CKR_COUNTERSIGN_PSBT_REFUSED: the PSBT breaks a rule; the code is not spent",
	ckrCountersignState:       "CKR_COUNTERSIGN_STATE: the module does not trust the sealed state; run countersign doctor",
	ckrCountersignClock:       "CKR_COUNTERSIGN_CLOCK: the module does not trust the machine's clock; run countersign clock show",
	pkcs11.CKR_PIN_INCORRECT:  "CKR_PIN_INCORRECT: the code is wrong, used or stale (or a PIN is wrong); take the next code",
	pkcs11.CKR_PIN_LOCKED:     "CKR_PIN_LOCKED: too many codes or PINs were wrong, so this one was not checked; wait, or have the user unlocked",
}

// client is a session on the first token.
type client struct {
	module  *pkcs11.Ctx
	session pkcs11.SessionHandle
}

// open logs in as CKU_SO or CKU_USER.
func open(role uint) (*client, error) {
	module := pkcs11.New(os.Getenv("COUNTERSIGN_MODULE"))
	if module == nil {
		return nil, errors.New("COUNTERSIGN_MODULE names no module that can be loaded")
	}
	if err := module.Initialize(); err != nil {
		return nil, err
	}
	slots, err := module.GetSlotList(true)
	if err != nil {
		return nil, err
	}
	if len(slots) == 0 {
		return nil, errors.New("there is no token")
	}
	session, err := module.OpenSession(slots[0], pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return nil, err
	}
	pin := os.Getenv("COUNTERSIGN_USER_PIN")
	if role == pkcs11.CKU_SO {
		pin = os.Getenv("COUNTERSIGN_SO_PIN")
	}
	return &client{module, session}, module.Login(session, role, pin)
}

// enrol makes the secret inside. It comes out once, as the otpauth:// URI that an authenticator app scans.
func (c *client) enrol(user string) error {
	template := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, ckoOTPKey),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, user),
	}
	key, err := c.module.GenerateKey(c.session, mechanism(ckmCountersignTOTPKeyGen, nil), template)
	if err != nil {
		return err
	}
	// Show it to the user as a QR code, and keep no copy: anybody who has it can make codes.
	return c.printText(key, ckaCountersignOtpauthURI)
}

// confirm checks a first code, which shows that the user's app has the secret. Before that, the user's codes sign nothing.
func (c *client) confirm(user string) error {
	key, err := c.find(ckoOTPKey, user)
	if err != nil {
		return err
	}
	code, err := askCode(user)
	if err != nil {
		return err
	}
	if err := c.module.VerifyInit(c.session, mechanism(ckmCountersignTOTP, nil), key); err != nil {
		return err
	}
	if err := c.module.Verify(c.session, nil, []byte(code)); err != nil {
		return err
	}
	fmt.Println(user, "is confirmed")
	return nil
}

// wallet makes the key inside, and the key never leaves. A watch-only wallet needs only the descriptor.
func (c *client) wallet(label, user string) error {
	public := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
	}
	private := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(ckaCountersignNetwork, "regtest"),
		pkcs11.NewAttribute(ckaCountersignUsers, user),
		pkcs11.NewAttribute(ckaCountersignPolicy, "max_transaction_sat = 100000\nmax_fee_sat = 5000\n"),
	}
	key, _, err := c.module.GenerateKeyPair(c.session, mechanism(ckmCountersignWalletKeyGen, nil), public, private)
	if err != nil {
		return err
	}
	return c.printText(key, ckaCountersignDescriptor)
}

// sign attaches the code in the first way: in the mechanism's parameter.
func (c *client) sign(label, user, unsigned, signed string) error {
	key, err := c.find(pkcs11.CKO_PRIVATE_KEY, label)
	if err != nil {
		return err
	}
	code, err := askCode(user)
	if err != nil {
		return err
	}
	record, err := approval(user, code)
	if err != nil {
		return err
	}
	if err := c.module.SignInit(c.session, mechanism(ckmCountersignPSBT, record), key); err != nil {
		return err
	}
	return c.countersign(unsigned, signed)
}

// login attaches the code in the second way: between C_SignInit and C_Sign the code is the PIN of a context-specific login.
func (c *client) login(label, user, unsigned, signed string) error {
	key, err := c.find(pkcs11.CKO_PRIVATE_KEY, label)
	if err != nil {
		return err
	}
	code, err := askCode(user)
	if err != nil {
		return err
	}
	if err := c.module.SignInit(c.session, mechanism(ckmCountersignPSBT, nil), key); err != nil {
		return err
	}
	if err := c.module.Login(c.session, pkcs11.CKU_CONTEXT_SPECIFIC, user+":"+code); err != nil {
		return err
	}
	return c.countersign(unsigned, signed)
}

// countersign calls C_Sign on one file and writes another. A refusal names the rule that refused, if there is one.
func (c *client) countersign(unsigned, signed string) error {
	psbt, err := os.ReadFile(unsigned)
	if err != nil {
		return err
	}
	answer, err := c.module.Sign(c.session, psbt)
	if err == pkcs11.Error(ckrCountersignPolicy) || err == pkcs11.Error(ckrCountersignPSBTRefused) {
		if info, asked := c.module.GetSessionInfo(c.session); asked == nil {
			fmt.Fprintln(os.Stderr, sentence(info.DeviceError))
		}
	}
	if err != nil {
		return err
	}
	return os.WriteFile(signed, answer, 0o600)
}

// sentence has the tag and the sentence of a rule, as countersign.h lists them.
func sentence(number uint) string {
	if number == 0 {
		return "the module gives no rule number; look in the log of the boundary"
	}
	for _, place := range []string{"include/countersign.h", "/usr/include/countersign.h"} {
		header, err := os.ReadFile(place)
		if err != nil {
			continue
		}
		define := regexp.MustCompile(fmt.Sprintf(`(?m)^#define (CS_RULE_\w+)\s+%dUL$`, number))
		name := define.FindSubmatch(header)
		if name == nil {
			break
		}
		rule := regexp.MustCompile(fmt.Sprintf(`RULE\(%s, "(.*?)", "(.*?)"\)`, name[1])).FindSubmatch(header)
		if rule != nil {
			return fmt.Sprintf("%s: %s", rule[1], rule[2])
		}
	}
	return fmt.Sprintf("rule %d, which is newer than this countersign.h", number)
}

// approval is COUNTERSIGN_APPROVAL: version 1, factor 1 (TOTP), both lengths, both texts padded with zeros.
func approval(user, code string) ([]byte, error) {
	if len(user) > 60 || len(code) > 64 {
		return nil, errors.New("the name or the code is too long")
	}
	record := make([]byte, 128)
	copy(record, []byte{1, 1, byte(len(user)), byte(len(code))})
	copy(record[4:], user)
	copy(record[64:], code)
	return record, nil
}

// askCode asks on the terminal, without an echo.
func askCode(user string) (string, error) {
	echo := func(mode string) {
		stty := exec.Command("stty", mode)
		stty.Stdin = os.Stdin
		// Without a terminal there is no echo to switch off.
		_ = stty.Run()
	}
	echo("-echo")
	fmt.Fprintf(os.Stderr, "code of %s: ", user)
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	echo("echo")
	fmt.Fprintln(os.Stderr)
	return strings.TrimSpace(line), err
}

func (c *client) find(class uint, label string) (pkcs11.ObjectHandle, error) {
	template := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, class),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
	}
	if err := c.module.FindObjectsInit(c.session, template); err != nil {
		return 0, err
	}
	found, _, err := c.module.FindObjects(c.session, 1)
	if err != nil {
		return 0, err
	}
	if err := c.module.FindObjectsFinal(c.session); err != nil {
		return 0, err
	}
	if len(found) == 0 {
		return 0, fmt.Errorf("no object of this kind is called %s", label)
	}
	return found[0], nil
}

func (c *client) printText(object pkcs11.ObjectHandle, kind uint) error {
	wanted := []*pkcs11.Attribute{pkcs11.NewAttribute(kind, nil)}
	found, err := c.module.GetAttributeValue(c.session, object, wanted)
	if err != nil {
		return err
	}
	fmt.Println(string(found[0].Value))
	return nil
}

func mechanism(kind uint, parameter []byte) []*pkcs11.Mechanism {
	if parameter == nil {
		return []*pkcs11.Mechanism{pkcs11.NewMechanism(kind, nil)}
	}
	return []*pkcs11.Mechanism{pkcs11.NewMechanism(kind, parameter)}
}

func run(words []string) error {
	verb := fmt.Sprint(len(words))
	if len(words) > 0 {
		verb += " " + words[0]
	}
	role := uint(pkcs11.CKU_SO)
	if verb == "5 sign" || verb == "5 login" {
		role = pkcs11.CKU_USER
	}
	switch verb {
	case "2 enrol", "2 confirm", "3 wallet", "5 sign", "5 login":
	default:
		return errors.New("usage: enrol | confirm | wallet | sign | login, as above")
	}
	c, err := open(role)
	if err != nil {
		return err
	}
	// This also closes the session and logs out.
	defer func() { _ = c.module.Finalize() }()
	switch words[0] {
	case "enrol":
		return c.enrol(words[1])
	case "confirm":
		return c.confirm(words[1])
	case "wallet":
		return c.wallet(words[1], words[2])
	case "sign":
		return c.sign(words[1], words[2], words[3], words[4])
	default:
		return c.login(words[1], words[2], words[3], words[4])
	}
}

func main() {
	err := run(os.Args[1:])
	if err == nil {
		return
	}
	var refusal pkcs11.Error
	if errors.As(err, &refusal) && refusals[refusal] != "" {
		fmt.Fprintln(os.Stderr, refusals[refusal])
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(1)
}
