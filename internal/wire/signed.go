package wire

import "bytes"

// A signed frame has a line before its own, which package signing makes and checks. Every parser of
// this package steps over it: looking at a signature is another matter than reading what is signed.

// MaxSignature is longer than the line can be, in bytes.
const MaxSignature = 200

// IsSigned reports whether the frame has a signature, whatever it is worth. No other frame
// starts with its first byte.
func IsSigned(frame []byte) bool { return len(frame) > 0 && frame[0] == '~' }

// CutSignature returns the line of a signed frame, and the frame behind it. Both alias b. It reports
// false for a frame without such a line.
func CutSignature(b []byte) (line, frame []byte, ok bool) {
	if !IsSigned(b) {
		return nil, b, false
	}
	i := bytes.IndexByte(b[:min(len(b), MaxSignature)], '\n')
	if i < 0 {
		return nil, b, false
	}
	return b[:i], b[i+1:], true
}
