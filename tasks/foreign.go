package tasks

import (
	"reflect"

	"github.com/distpool/distpool/internal/jsoncodec"
)

// foreign says whether a codec runs code that neither distpool nor Go's library has
// written when it encodes or decodes a type. Such code may panic, end its goroutine,
// or never return, so it runs under guard (package guard). All other types are spared
// the price.
type foreign struct{ encode, decode bool }

// foreignOf looks at all of a type that the codec looks at.
func foreignOf(c Codec, t reflect.Type) foreign {
	codec, ok := c.(*jsoncodec.Codec)
	if !ok {
		return foreign{true, true}
	}
	encode, decode := codec.Foreign(t)
	return foreign{encode, decode}
}
