package wire

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
)

// A signed frame has a line before its own:
//
//	~1 <key ID> <not before> <expires> <total> <MAC, hexadecimal>\n
//
// Every parser of this package steps over it: looking at a signature is another
// matter than reading what is signed (package signing).

// signedMark starts the line. No frame starts with it otherwise.
const signedMark = '~'

const (
	signedVersion = "~1"
	// maxSignature is longer than a signature's line can be.
	maxSignature = 200
	macSize      = 32
)

// Signature is what the line says.
type Signature struct {
	Key       string
	NotBefore int64 // Unix time in ms; 0: none
	Expires   int64 // Unix time in ms; 0: never
	Total     int   // calls of the job; -1: not known when it was signed
	MAC       [macSize]byte
}

// Line returns the signature as it travels, without the newline.
func (s Signature) Line() []byte {
	b := make([]byte, 0, maxSignature)
	b = append(b, signedVersion...)
	b = append(b, ' ')
	b = append(b, s.Key...)
	for _, n := range []int64{s.NotBefore, s.Expires, int64(s.Total)} {
		b = append(b, ' ')
		b = strconv.AppendInt(b, n, 10)
	}
	b = append(b, ' ')
	return hex.AppendEncode(b, s.MAC[:])
}

// Sign puts the signature before the frame.
func Sign(s Signature, frame []byte) []byte {
	line := s.Line()
	b := make([]byte, 0, len(line)+1+len(frame))
	b = append(b, line...)
	b = append(b, '\n')
	return append(b, frame...)
}

// IsSigned reports whether the frame has a signature, whatever it is worth.
func IsSigned(frame []byte) bool { return len(frame) > 0 && frame[0] == signedMark }

// CutSignature takes a signed frame apart. frame aliases b.
func CutSignature(b []byte) (s Signature, frame []byte, err error) {
	line, frame, ok := cutSignature(b)
	if !ok {
		return Signature{}, nil, fmt.Errorf("no signature's line in %d bytes", len(b))
	}
	s, err = ParseSignature(line)
	return s, frame, err
}

func cutSignature(b []byte) (line, frame []byte, ok bool) {
	if !IsSigned(b) {
		return nil, b, false
	}
	i := bytes.IndexByte(b[:min(len(b), maxSignature)], '\n')
	if i < 0 {
		return nil, b, false
	}
	return b[:i], b[i+1:], true
}

// ParseSignature undoes Line.
func ParseSignature(line []byte) (Signature, error) {
	f := bytes.Split(line[:min(len(line), maxSignature)], []byte{' '})
	if len(f) != 6 || string(f[0]) != signedVersion || len(f[1]) == 0 {
		return Signature{}, fmt.Errorf("%.80q is no signature that this version of distpool reads", line)
	}
	s := Signature{Key: string(f[1])}
	var err error
	number := func(b []byte) int64 {
		n, nerr := strconv.ParseInt(string(b), 10, 64)
		if nerr != nil || n < -1 {
			err = fmt.Errorf("%.30q in a signature is not a number", b)
		}
		return n
	}
	s.NotBefore, s.Expires = number(f[2]), number(f[3])
	s.Total = int(number(f[4]))
	if err != nil {
		return Signature{}, err
	}
	if len(f[5]) != hex.EncodedLen(macSize) {
		return Signature{}, fmt.Errorf("the code of a signature has %d digits, not %d", len(f[5]), hex.EncodedLen(macSize))
	}
	if _, err := hex.Decode(s.MAC[:], f[5]); err != nil {
		return Signature{}, fmt.Errorf("the code of a signature: %w", err)
	}
	return s, nil
}
