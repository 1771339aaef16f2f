// Package timestamp gets, and verifies, time stamps after RFC 3161: an authority
// that the law trusts signs that these bytes existed at that time (电子签名法
// recognises such stamps through the authority's certificate). A log has one
// checkpoint stamped a day: everything below that checkpoint existed by then.
//
// A token is verified against the bytes, and the certificate of whoever signed it
// against roots that the verifier chose, at the time that the token states, so
// that it still verifies when the certificate has expired. Whether the certificate
// was revoked is not asked: that needs a network and today's lists.
//
// Signatures by RSA (PKCS #1), ECDSA, Ed25519 and SM2 are known; digests SHA-256,
// SHA-384, SHA-512 and SM3. Tokens are read as DER.
package timestamp

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // RFC 3161 names the signer's certificate by it; nothing else rests on it
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	encoding "encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/emmansun/gmsm/smx509"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"liuhen/transparency/sm"
)

// A Stamp is what a verified token says.
type Stamp struct {
	Time     time.Time     `json:"time"`
	Accuracy time.Duration `json:"accuracy"` // the true time is so near; 0: the authority does not say
	Serial   string        `json:"serial"`   // of the token, decimal
	Policy   string        `json:"policy"`   // object identifier of the authority's rules
	Signer   string        `json:"signer"`   // subject of the certificate
}

// Roots are the certificates that an authority's certificate must lead to.
type Roots struct{ pool *smx509.CertPool }

// ParseRoots reads one or more certificates in PEM. Put nobody there who is only
// trusted for something else: every authority below them is believed.
func ParseRoots(text []byte) (*Roots, error) {
	pool, n := smx509.NewCertPool(), 0
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("roots for time stamps: a %s among the certificates", block.Type)
		}
		cert, err := smx509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("roots for time stamps: certificate %d: %w", n+1, err)
		}
		pool.AddCert(cert)
		n++
	}
	if n == 0 {
		return nil, errors.New("roots for time stamps: no certificate in PEM (-----BEGIN CERTIFICATE-----)")
	}
	return &Roots{pool: pool}, nil
}

// ErrNotStamped says that a token does not prove that these bytes existed at a
// time.
var ErrNotStamped = errors.New("not stamped")

// Verify says when data existed, by a token (DER) that an authority below the
// roots signed. Its errors are ErrNotStamped.
func Verify(token, data []byte, roots *Roots) (Stamp, error) {
	s, _, err := verify(token, data, roots)
	if err != nil {
		return Stamp{}, fmt.Errorf("%w: %w", ErrNotStamped, err)
	}
	return s, nil
}

func verify(token, data []byte, roots *Roots) (Stamp, tstInfo, error) {
	signed, err := parseToken(token)
	if err != nil {
		return Stamp{}, tstInfo{}, fmt.Errorf("token: %w", err)
	}
	info, err := parseInfo(signed.content)
	if err != nil {
		return Stamp{}, info, fmt.Errorf("token: %w", err)
	}
	sum, err := digest(info.digest, data)
	if err != nil {
		return Stamp{}, info, fmt.Errorf("token: %w", err)
	}
	if !bytes.Equal(sum, info.imprint) {
		return Stamp{}, info, errors.New("the token is over other bytes")
	}
	cert, err := signed.verify()
	if err != nil {
		return Stamp{}, info, fmt.Errorf("token: %w", err)
	}
	if err := trust(cert, signed.certificates, roots, info.time); err != nil {
		return Stamp{}, info, fmt.Errorf("certificate of %s: %w", cert.Subject, err)
	}
	return Stamp{Time: info.time, Accuracy: info.accuracy, Serial: info.serial.String(), Policy: info.policy.String(), Signer: cert.Subject.String()}, info, nil
}

// trust checks that a certificate may stamp times (RFC 3161 section 2.3: that use
// alone, and critical) and leads to a root as of a time.
func trust(cert *smx509.Certificate, others []*smx509.Certificate, roots *Roots, at time.Time) error {
	if roots == nil {
		return errors.New("no roots were given to verify it against")
	}
	critical := false
	for _, e := range cert.Extensions {
		critical = critical || e.Critical && e.Id.Equal(oidExtendedKeyUsage)
	}
	if len(cert.ExtKeyUsage) != 1 || cert.ExtKeyUsage[0] != x509.ExtKeyUsageTimeStamping || len(cert.UnknownExtKeyUsage) != 0 || !critical {
		return errors.New("it is not for stamping times, and that alone (critical extended key usage)")
	}
	between := smx509.NewCertPool()
	for _, c := range others {
		between.AddCert(c)
	}
	_, err := cert.Verify(smx509.VerifyOptions{
		Roots: roots.pool, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping},
	})
	if err != nil {
		return fmt.Errorf("it does not lead to a root that is trusted, as of %s: %w", at.UTC().Format(time.RFC3339), err)
	}
	return nil
}

// Object identifiers.
var (
	oidSignedData       = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidTSTInfo          = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	oidContentType      = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest    = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningCert      = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 12} // RFC 2634, by SHA-1
	oidSigningCertV2    = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47} // RFC 5035
	oidExtendedKeyUsage = encoding.ObjectIdentifier{2, 5, 29, 37}

	oidSHA256 = encoding.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidSHA384 = encoding.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
	oidSHA512 = encoding.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}
	oidSM3    = encoding.ObjectIdentifier{1, 2, 156, 10197, 1, 401}

	oidRSA       = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidRSASHA256 = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
	oidRSASHA384 = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}
	oidRSASHA512 = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}
	oidEC        = encoding.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidECSHA256  = encoding.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidECSHA384  = encoding.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}
	oidECSHA512  = encoding.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}
	oidEd25519   = encoding.ObjectIdentifier{1, 3, 101, 112}
	oidSM2       = encoding.ObjectIdentifier{1, 2, 156, 10197, 1, 301, 1}
	oidSM2SM3    = encoding.ObjectIdentifier{1, 2, 156, 10197, 1, 501}
)

func digest(oid encoding.ObjectIdentifier, data []byte) ([]byte, error) {
	switch {
	case oid.Equal(oidSHA256):
		sum := sha256.Sum256(data)
		return sum[:], nil
	case oid.Equal(oidSHA384):
		sum := sha512.Sum384(data)
		return sum[:], nil
	case oid.Equal(oidSHA512):
		sum := sha512.Sum512(data)
		return sum[:], nil
	case oid.Equal(oidSM3):
		sum := sm.Sum(data)
		return sum[:], nil
	default:
		return nil, fmt.Errorf("digest algorithm %s is not known here, or not safe", oid)
	}
}

// algorithms says by which digest and signature algorithm a signature is made.
var algorithms = []struct {
	signature, digest encoding.ObjectIdentifier
	is                smx509.SignatureAlgorithm
}{
	{oidRSA, oidSHA256, x509.SHA256WithRSA},
	{oidRSA, oidSHA384, x509.SHA384WithRSA},
	{oidRSA, oidSHA512, x509.SHA512WithRSA},
	{oidRSASHA256, oidSHA256, x509.SHA256WithRSA},
	{oidRSASHA384, oidSHA384, x509.SHA384WithRSA},
	{oidRSASHA512, oidSHA512, x509.SHA512WithRSA},
	{oidEC, oidSHA256, x509.ECDSAWithSHA256},
	{oidEC, oidSHA384, x509.ECDSAWithSHA384},
	{oidEC, oidSHA512, x509.ECDSAWithSHA512},
	{oidECSHA256, oidSHA256, x509.ECDSAWithSHA256},
	{oidECSHA384, oidSHA384, x509.ECDSAWithSHA384},
	{oidECSHA512, oidSHA512, x509.ECDSAWithSHA512},
	{oidEd25519, oidSHA512, x509.PureEd25519},
	{oidSM2, oidSM3, smx509.SM2WithSM3},
	{oidSM2SM3, oidSM3, smx509.SM2WithSM3},
}

// A tstInfo is what an authority signs (RFC 3161 section 2.4.2).
type tstInfo struct {
	policy   encoding.ObjectIdentifier
	digest   encoding.ObjectIdentifier // by which imprint was made
	imprint  []byte
	serial   *big.Int
	time     time.Time
	accuracy time.Duration
	nonce    *big.Int // nil: none
}

var errInfo = errors.New("what was signed is no TSTInfo in DER")

func parseInfo(content []byte) (info tstInfo, err error) {
	input := cryptobyte.String(content)
	var body, imprint, sum, moment cryptobyte.String
	var version int64
	info.serial = new(big.Int)
	if !input.ReadASN1(&body, asn1.SEQUENCE) || !input.Empty() ||
		!body.ReadASN1Integer(&version) || version != 1 ||
		!body.ReadASN1ObjectIdentifier(&info.policy) ||
		!body.ReadASN1(&imprint, asn1.SEQUENCE) ||
		!readDigest(&imprint, &info.digest) ||
		!imprint.ReadASN1(&sum, asn1.OCTET_STRING) || !imprint.Empty() ||
		!body.ReadASN1Integer(info.serial) ||
		!body.ReadASN1(&moment, asn1.GeneralizedTime) {
		return info, errInfo
	}
	info.imprint = sum
	if info.time, err = parseTime(string(moment)); err != nil {
		return info, err
	}
	if body.PeekASN1Tag(asn1.SEQUENCE) {
		if info.accuracy, err = parseAccuracy(&body); err != nil {
			return info, err
		}
	}
	if body.PeekASN1Tag(asn1.BOOLEAN) { // ordering
		var ordering bool
		if !body.ReadASN1Boolean(&ordering) {
			return info, errInfo
		}
	}
	if body.PeekASN1Tag(asn1.INTEGER) {
		info.nonce = new(big.Int)
		if !body.ReadASN1Integer(info.nonce) {
			return info, errInfo
		}
	}
	name, extensions := asn1.Tag(0).Constructed().ContextSpecific(), asn1.Tag(1).Constructed().ContextSpecific()
	if !body.SkipOptionalASN1(name) {
		return info, errInfo
	}
	return info, refuseCritical(&body, extensions)
}

func readDigest(imprint *cryptobyte.String, oid *encoding.ObjectIdentifier) (ok bool) {
	*oid, ok = readAlgorithm(imprint)
	return ok
}

// refuseCritical reads extensions, of which none is known here.
func refuseCritical(body *cryptobyte.String, tag asn1.Tag) error {
	var all, one cryptobyte.String
	var some bool
	if !body.ReadOptionalASN1(&all, &some, tag) || !body.Empty() {
		return errInfo
	}
	for some && !all.Empty() {
		var id encoding.ObjectIdentifier
		var critical bool
		if !all.ReadASN1(&one, asn1.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&id) || !one.ReadOptionalASN1Boolean(&critical, asn1.BOOLEAN, false) {
			return errInfo
		}
		if critical {
			return fmt.Errorf("it has a critical extension %s that is not known here", id)
		}
	}
	return nil
}

// parseTime reads a GeneralizedTime as RFC 3161 has it: in UTC, with a fraction
// where there is one, without trailing zeroes.
func parseTime(text string) (time.Time, error) {
	t, err := time.Parse("20060102150405.999999999Z", text)
	if err != nil || t.Format("20060102150405.999999999Z") != text {
		return t, fmt.Errorf("time %.40q: want YYYYMMDDhhmmss[.s…]Z", text)
	}
	return t, nil
}

func parseAccuracy(body *cryptobyte.String) (time.Duration, error) {
	var accuracy cryptobyte.String
	if !body.ReadASN1(&accuracy, asn1.SEQUENCE) {
		return 0, errInfo
	}
	var seconds, millis, micros int64
	if accuracy.PeekASN1Tag(asn1.INTEGER) && !accuracy.ReadASN1Integer(&seconds) {
		return 0, errInfo
	}
	for i, part := range []*int64{&millis, &micros} {
		tag := asn1.Tag(i).ContextSpecific() //nolint:gosec // 0 or 1
		if accuracy.PeekASN1Tag(tag) && !accuracy.ReadASN1Int64WithTag(part, tag) {
			return 0, errInfo
		}
	}
	if !accuracy.Empty() || seconds < 0 || seconds > 1<<31 || millis < 0 || millis > 999 || micros < 0 || micros > 999 {
		return 0, fmt.Errorf("%w: accuracy", errInfo)
	}
	return time.Duration(seconds)*time.Second + time.Duration(millis)*time.Millisecond + time.Duration(micros)*time.Microsecond, nil
}

// sha1Sum is for names of certificates only.
func sha1Sum(data []byte) []byte {
	sum := sha1.Sum(data) //nolint:gosec // see the import
	return sum[:]
}
