package timestamp

import (
	"bytes"
	encoding "encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"github.com/emmansun/gmsm/smx509"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// A signedData is a CMS SignedData over a TSTInfo with one signer (RFC 5652, as
// RFC 3161 section 2.4.2 narrows it).
type signedData struct {
	content      []byte // the TSTInfo
	certificates []*smx509.Certificate

	// Of the signer: how its certificate is named, the attributes that are
	// signed, and the signature.
	issuer, keyID []byte // one of the two
	serial        *big.Int
	digest        encoding.ObjectIdentifier
	attributes    []byte // contents of the SET
	algorithm     encoding.ObjectIdentifier
	signature     []byte
}

var (
	tag0 = asn1.Tag(0).Constructed().ContextSpecific()
	tag1 = asn1.Tag(1).Constructed().ContextSpecific()
)

var errToken = errors.New("it is no CMS SignedData in DER")

// parseToken reads a TimeStampToken.
func parseToken(der []byte) (*signedData, error) {
	input := cryptobyte.String(der)
	var info, explicit, body cryptobyte.String
	var kind encoding.ObjectIdentifier
	if !input.ReadASN1(&info, asn1.SEQUENCE) || !input.Empty() ||
		!info.ReadASN1ObjectIdentifier(&kind) || !kind.Equal(oidSignedData) ||
		!info.ReadASN1(&explicit, tag0) || !info.Empty() ||
		!explicit.ReadASN1(&body, asn1.SEQUENCE) || !explicit.Empty() {
		return nil, errToken
	}
	var version int64
	var digests, content, octets, text cryptobyte.String
	if !body.ReadASN1Integer(&version) || version < 3 || version > 5 || // RFC 5652 section 5.1
		!body.ReadASN1(&digests, asn1.SET) ||
		!body.ReadASN1(&content, asn1.SEQUENCE) ||
		!content.ReadASN1ObjectIdentifier(&kind) ||
		!content.ReadASN1(&octets, tag0) || !content.Empty() ||
		!octets.ReadASN1(&text, asn1.OCTET_STRING) || !octets.Empty() {
		return nil, errToken
	}
	if !kind.Equal(oidTSTInfo) {
		return nil, fmt.Errorf("it holds %s and no time stamp", kind)
	}
	s := &signedData{content: text}
	if err := s.readCertificates(&body); err != nil {
		return nil, err
	}
	var signers, signer cryptobyte.String
	if !body.SkipOptionalASN1(tag1) || !body.ReadASN1(&signers, asn1.SET) || !body.Empty() || !signers.ReadASN1(&signer, asn1.SEQUENCE) {
		return nil, errToken
	}
	if !signers.Empty() {
		return nil, errors.New("it has several signers; a time stamp has one")
	}
	if err := s.readSigner(signer); err != nil {
		return nil, err
	}
	for !digests.Empty() {
		oid, ok := readAlgorithm(&digests)
		if !ok {
			return nil, errToken
		}
		if oid.Equal(s.digest) {
			return s, nil
		}
	}
	return nil, errors.New("the digest of its signer is not among those at its head")
}

// readAlgorithm reads an AlgorithmIdentifier without parameters: NULL, or nothing.
func readAlgorithm(in *cryptobyte.String) (oid encoding.ObjectIdentifier, ok bool) {
	var one, null cryptobyte.String
	if !in.ReadASN1(&one, asn1.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&oid) {
		return nil, false
	}
	return oid, one.Empty() || one.ReadASN1(&null, asn1.NULL) && null.Empty() && one.Empty()
}

func (s *signedData) readCertificates(body *cryptobyte.String) error {
	var all, one cryptobyte.String
	var some bool
	if !body.ReadOptionalASN1(&all, &some, tag0) {
		return errToken
	}
	for some && !all.Empty() {
		if !all.ReadASN1Element(&one, asn1.SEQUENCE) {
			return errToken
		}
		cert, err := smx509.ParseCertificate(one)
		if err != nil {
			return fmt.Errorf("certificate %d: %w", len(s.certificates)+1, err)
		}
		s.certificates = append(s.certificates, cert)
	}
	return nil
}

func (s *signedData) readSigner(signer cryptobyte.String) error {
	var version int64
	if !signer.ReadASN1Integer(&version) {
		return errToken
	}
	if keyTag := asn1.Tag(0).ContextSpecific(); signer.PeekASN1Tag(keyTag) {
		var id cryptobyte.String
		if version != 3 || !signer.ReadASN1(&id, keyTag) {
			return errToken
		}
		s.keyID = id
	} else {
		var named, issuer cryptobyte.String
		s.serial = new(big.Int)
		if version != 1 || !signer.ReadASN1(&named, asn1.SEQUENCE) || !named.ReadASN1Element(&issuer, asn1.SEQUENCE) ||
			!named.ReadASN1Integer(s.serial) || !named.Empty() {
			return errToken
		}
		s.issuer = issuer
	}
	var attributes, signature cryptobyte.String
	var ok bool
	if s.digest, ok = readAlgorithm(&signer); !ok {
		return errToken
	}
	if !signer.ReadASN1(&attributes, tag0) {
		return errors.New("its signer signed no attributes, which a time stamp must have")
	}
	if s.algorithm, ok = readAlgorithm(&signer); !ok ||
		!signer.ReadASN1(&signature, asn1.OCTET_STRING) ||
		!signer.SkipOptionalASN1(tag1) || !signer.Empty() {
		return errToken
	}
	s.attributes, s.signature = attributes, signature
	return nil
}

// verify checks that the certificate that is named signed the content, and returns
// it; whether it is to be believed is another question.
func (s *signedData) verify() (*smx509.Certificate, error) {
	cert := s.signer()
	if cert == nil {
		return nil, errors.New("the certificate of its signer is not in it")
	}
	if err := s.checkAttributes(cert); err != nil {
		return nil, err
	}
	// The attributes are signed as the SET that they are, not under the tag that
	// they have here (RFC 5652 section 5.4).
	var b cryptobyte.Builder
	b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(s.attributes) })
	signed, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	for _, a := range algorithms {
		if s.algorithm.Equal(a.signature) && s.digest.Equal(a.digest) {
			if err := cert.CheckSignature(a.is, signed, s.signature); err != nil {
				return nil, fmt.Errorf("the signature of %s: %w", cert.Subject, err)
			}
			return cert, nil
		}
	}
	return nil, fmt.Errorf("it is signed by %s over %s, which is not known here", s.algorithm, s.digest)
}

func (s *signedData) signer() *smx509.Certificate {
	for _, c := range s.certificates {
		if s.keyID != nil && bytes.Equal(c.SubjectKeyId, s.keyID) {
			return c
		}
		if s.issuer != nil && bytes.Equal(c.RawIssuer, s.issuer) && c.SerialNumber.Cmp(s.serial) == 0 {
			return c
		}
	}
	return nil
}

// checkAttributes checks what the signer says of what it signs: that it is a time
// stamp, its digest, and which certificate it signs with.
func (s *signedData) checkAttributes(cert *smx509.Certificate) error {
	kind, err := s.attribute(oidContentType)
	if err != nil {
		return err
	}
	var of encoding.ObjectIdentifier
	if !kind.ReadASN1ObjectIdentifier(&of) || !kind.Empty() || !of.Equal(oidTSTInfo) {
		return errors.New("its signer signed something else than a time stamp (content type)")
	}
	claimed, err := s.attribute(oidMessageDigest)
	if err != nil {
		return err
	}
	sum, err := digest(s.digest, s.content)
	if err != nil {
		return err
	}
	var signedSum cryptobyte.String
	if !claimed.ReadASN1(&signedSum, asn1.OCTET_STRING) || !claimed.Empty() || !bytes.Equal(signedSum, sum) {
		return errors.New("its signer signed another content (message digest)")
	}
	return s.checkNamed(cert)
}

// checkNamed checks that the signer names the certificate under which its
// signature verifies (RFC 3161 section 2.4.2, RFC 5816): otherwise another
// certificate of the same key could be put in its place.
func (s *signedData) checkNamed(cert *smx509.Certificate) error {
	value, err := s.attribute(oidSigningCertV2)
	names := namesV2
	if err != nil {
		value, err = s.attribute(oidSigningCert)
		names = namesV1
	}
	switch {
	case err != nil:
		return errors.New("its signer does not say which certificate it signed with (signing certificate attribute)")
	case !names(value, cert.Raw):
		return errors.New("its signer names another certificate than the one that it signed with")
	}
	return nil
}

// namesV1 reports whether the first ESSCertID is a certificate's SHA-1.
func namesV1(value cryptobyte.String, cert []byte) bool {
	var named, all, one, sum cryptobyte.String
	return value.ReadASN1(&named, asn1.SEQUENCE) && named.ReadASN1(&all, asn1.SEQUENCE) &&
		all.ReadASN1(&one, asn1.SEQUENCE) && one.ReadASN1(&sum, asn1.OCTET_STRING) &&
		bytes.Equal(sum, sha1Sum(cert))
}

// namesV2 reports whether the first ESSCertIDv2 is a certificate's digest, by
// SHA-256 where it does not say otherwise.
func namesV2(value cryptobyte.String, cert []byte) bool {
	var named, all, one, algorithm, sum cryptobyte.String
	by := oidSHA256
	if !value.ReadASN1(&named, asn1.SEQUENCE) || !named.ReadASN1(&all, asn1.SEQUENCE) || !all.ReadASN1(&one, asn1.SEQUENCE) {
		return false
	}
	if one.PeekASN1Tag(asn1.SEQUENCE) && (!one.ReadASN1(&algorithm, asn1.SEQUENCE) || !algorithm.ReadASN1ObjectIdentifier(&by)) {
		return false
	}
	want, err := digest(by, cert)
	return err == nil && one.ReadASN1(&sum, asn1.OCTET_STRING) && bytes.Equal(sum, want)
}

// attribute returns the one value of a signed attribute.
func (s *signedData) attribute(oid encoding.ObjectIdentifier) (value cryptobyte.String, err error) {
	all := cryptobyte.String(s.attributes)
	found := 0
	for !all.Empty() {
		var one, values cryptobyte.String
		var is encoding.ObjectIdentifier
		if !all.ReadASN1(&one, asn1.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&is) || !one.ReadASN1(&values, asn1.SET) {
			return nil, errToken
		}
		if is.Equal(oid) {
			found++
			value = values
		}
	}
	if found != 1 {
		return nil, fmt.Errorf("its signer signed %d attributes %s, want one", found, oid)
	}
	return value, nil
}
