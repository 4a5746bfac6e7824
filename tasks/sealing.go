package tasks

import "github.com/distpool/distpool/internal/call"

// SealingCodec is an optional addition to [Codec], for one that keeps secret what
// it has encoded: package secure has one. Its other methods work on data that is
// not sealed. distpool seals what leaves the process, the encoded arguments or
// values of a whole chunk, or the texts of an error, and opens what comes in.
//
// place says where the data belongs: which job, which chunk, arguments or values.
// Open must fail on any other place than the one that Seal was given, so that
// nobody can exchange one for the other. Messages of Open's errors travel, and are
// readable.
type SealingCodec interface {
	Codec
	// Seal encrypts data for a place. The result belongs to the caller.
	Seal(data, place []byte) ([]byte, error)
	// Open undoes Seal. It must not keep data.
	Open(data, place []byte) ([]byte, error)
	// Fingerprint is a digest of data that tells nothing to who has no key. The same
	// data gives the same one under the same key: that of the fingerprint like, or
	// the newest when like is empty. It is for comparing submissions of the same ID.
	Fingerprint(data []byte, like string) (string, error)
}

// Sealer makes the codec's other half known to workers; nil when it has none.
func (e *erased[A, R]) Sealer() call.Sealer {
	if s, ok := e.task.Codec().(SealingCodec); ok {
		return s
	}
	return nil
}
