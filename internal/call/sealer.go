package call

// Sealer encrypts what a task's arguments and values are encoded to. It is what
// tasks.SealingCodec is without the codec.
type Sealer interface {
	// Seal encrypts data for a place.
	Seal(data, place []byte) ([]byte, error)
	// Open undoes Seal, for the same place only.
	Open(data, place []byte) ([]byte, error)
}

// SealerOf returns the Sealer of a task; nil when it has none.
func SealerOf(t Task) Sealer {
	if s, ok := t.(interface{ Sealer() Sealer }); ok {
		return s.Sealer()
	}
	return nil
}
