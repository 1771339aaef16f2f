package timestamp

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"net/http"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

const (
	queryType = "application/timestamp-query"
	replyType = "application/timestamp-reply"
	maxReply  = 1 << 20
)

// What a Client lets pass if it is not told otherwise.
const (
	DefaultTimeout     = 30 * time.Second
	DefaultMaxAccuracy = time.Minute
)

// A Client asks a time-stamping authority.
type Client struct {
	URL   string
	Roots *Roots // whom the authority's certificate must lead to
	// SM3 asks for a stamp on the SM3 digest instead of the SHA-256.
	SM3 bool
	// MaxAccuracy is how inaccurate the authority may call its time at most; 0:
	// DefaultMaxAccuracy. An authority that says nothing of its accuracy passes.
	MaxAccuracy time.Duration
	HTTP        *http.Client  // nil: http.DefaultClient
	Timeout     time.Duration // 0: DefaultTimeout
}

// Stamp has data stamped and returns the token as it came, in DER, which is to be
// kept with exactly these data: Verify takes both. What came is verified first,
// and is an answer to this question and to no earlier one.
func (c *Client) Stamp(ctx context.Context, data []byte) (token []byte, s Stamp, err error) {
	defer func() {
		if err != nil {
			token, s, err = nil, Stamp{}, fmt.Errorf("time stamp from %s: %w", c.URL, err)
		}
	}()
	timeout := c.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	nonce, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 63))
	if err != nil {
		return nil, s, err
	}
	query, err := c.query(data, nonce)
	if err != nil {
		return nil, s, err
	}
	reply, err := c.post(ctx, query)
	if err != nil {
		return nil, s, err
	}
	if token, err = parseReply(reply); err != nil {
		return nil, s, err
	}
	s, info, err := verify(token, data, c.Roots)
	if err != nil {
		return nil, s, err
	}
	limit := c.MaxAccuracy
	if limit == 0 {
		limit = DefaultMaxAccuracy
	}
	switch {
	case info.nonce == nil || info.nonce.Cmp(nonce) != 0:
		return nil, s, errors.New("the token has not our nonce: it answers another question")
	case c.SM3 != info.digest.Equal(oidSM3):
		return nil, s, fmt.Errorf("the token is over a digest by %s, which was not asked for", info.digest)
	case s.Accuracy > limit:
		return nil, s, fmt.Errorf("its time is accurate to %s, want %s", s.Accuracy, limit)
	}
	return token, s, nil
}

// query writes a TimeStampReq (RFC 3161 section 2.4.1) that asks for the
// certificate.
func (c *Client) query(data []byte, nonce *big.Int) ([]byte, error) {
	oid := oidSHA256
	if c.SM3 {
		oid = oidSM3
	}
	sum, err := digest(oid, data)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { // messageImprint
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oid)
				b.AddASN1NULL()
			})
			b.AddASN1OctetString(sum)
		})
		b.AddASN1BigInt(nonce)
		b.AddASN1Boolean(true) // certReq
	})
	return b.Bytes()
}

func (c *Client) post(ctx context.Context, query []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(query))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", queryType)
	r.Header.Set("Accept", replyType)
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, fmt.Errorf("read its answer: %w", err)
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); resp.StatusCode != http.StatusOK || kind != replyType {
		return nil, fmt.Errorf("status %d with content type %q, want 200 with %s: is it the address of an authority after RFC 3161?", resp.StatusCode, kind, replyType)
	}
	return reply, nil
}

// failures are the bits of PKIFailureInfo that RFC 3161 section 2.4.2 has.
var failures = map[int]string{
	0:  "it does not know the digest algorithm (badAlg)",
	2:  "it does not answer such requests (badRequest)",
	5:  "it could not read the request (badDataFormat)",
	14: "its source of time is not available (timeNotAvailable)",
	15: "it does not know the policy (unacceptedPolicy)",
	16: "it does not know an extension (unacceptedExtension)",
	17: "it could not find what was asked for (addInfoNotAvailable)",
	25: "it has failed (systemFailure)",
}

// parseReply reads a TimeStampResp (section 2.4.2) and returns the token.
func parseReply(reply []byte) ([]byte, error) {
	input := cryptobyte.String(reply)
	var resp, status cryptobyte.String
	var code int64
	if !input.ReadASN1(&resp, asn1.SEQUENCE) || !input.Empty() || !resp.ReadASN1(&status, asn1.SEQUENCE) || !status.ReadASN1Integer(&code) {
		return nil, errors.New("its answer is no TimeStampResp in DER")
	}
	if code != 0 && code != 1 { // granted, granted with modifications
		return nil, fmt.Errorf("it refused: status %d%s", code, reasons(status))
	}
	if resp.Empty() {
		return nil, errors.New("it granted a time stamp and sent none")
	}
	return resp, nil
}

// reasons says in words what stands behind the code of a PKIStatusInfo.
func reasons(status cryptobyte.String) (words string) {
	var texts, text cryptobyte.String
	var some bool
	if !status.ReadOptionalASN1(&texts, &some, asn1.SEQUENCE) {
		return ""
	}
	for some && texts.ReadASN1(&text, asn1.UTF8String) {
		words += fmt.Sprintf(", %.200q", string(text))
	}
	var bits cryptobyte.String
	if status.ReadASN1(&bits, asn1.BIT_STRING) && len(bits) > 1 {
		for bit := range (len(bits) - 1) * 8 {
			if bits[1+bit/8]>>(7-bit%8)&1 == 1 {
				why, known := failures[bit]
				if !known {
					why = fmt.Sprintf("failure %d", bit)
				}
				words += ", " + why
			}
		}
	}
	return words
}
