package timestamp

import (
	"encoding/pem"
	"math/big"
	"testing"

	encoding "encoding/asn1"

	"github.com/emmansun/gmsm/smx509"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"liuhen/transparency/sm"
)

var bigOne = big.NewInt(1)

// certificate is the authority's own.
func certificate(t testing.TB, a authority) *smx509.Certificate {
	t.Helper()
	block, _ := pem.Decode(a.Read("tsa.pem"))
	if block == nil {
		t.Fatal("tsa.pem holds no certificate")
	}
	cert, err := smx509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// sm2Attributes are the signed attributes of a token, as the SET that is signed:
// a type, the digest of the content and the name of the certificate, any of which
// may be left out (nil).
func sm2Attributes(kind encoding.ObjectIdentifier, content, cert []byte) []byte {
	sum, name := sm.Sum(content), sm.Sum(cert)
	attribute := func(b *cryptobyte.Builder, oid encoding.ObjectIdentifier, value func(*cryptobyte.Builder)) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oid)
			b.AddASN1(asn1.SET, value)
		})
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
		if kind != nil {
			attribute(b, oidContentType, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(kind) })
		}
		if content != nil {
			attribute(b, oidMessageDigest, func(b *cryptobyte.Builder) { b.AddASN1OctetString(sum[:]) })
		}
		if cert == nil {
			return
		}
		attribute(b, oidSigningCertV2, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						algorithm(b, oidSM3)
						b.AddASN1OctetString(name[:])
					})
				})
			})
		})
	})
	return b.BytesOrPanic()
}

func algorithm(b *cryptobyte.Builder, oid encoding.ObjectIdentifier) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid) })
}

// sm2Token puts a token together.
func sm2Token(content []byte, cert *smx509.Certificate, attributes, signature []byte) []byte {
	var set cryptobyte.String
	all := cryptobyte.String(attributes)
	if !all.ReadASN1(&set, asn1.SET) {
		panic("attributes are no SET")
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidSignedData)
		b.AddASN1(tag0, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(3)
				b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) { algorithm(b, oidSM3) })
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(oidTSTInfo)
					b.AddASN1(tag0, func(b *cryptobyte.Builder) { b.AddASN1OctetString(content) })
				})
				b.AddASN1(tag0, func(b *cryptobyte.Builder) { b.AddBytes(cert.Raw) })
				b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1Int64(1)
						b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
							b.AddBytes(cert.RawIssuer)
							b.AddASN1BigInt(cert.SerialNumber)
						})
						algorithm(b, oidSM3)
						b.AddASN1(tag0, func(b *cryptobyte.Builder) { b.AddBytes(set) })
						algorithm(b, oidSM2SM3)
						b.AddASN1OctetString(signature)
					})
				})
			})
		})
	})
	return b.BytesOrPanic()
}
