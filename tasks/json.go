package tasks

import (
	"encoding/json"
	"reflect"

	"github.com/distpool/distpool/internal/jsoncodec"
)

// JSON is the default codec: encoding/json, set up so that values arrive as
// what they were.
//
//   - Integers keep all their 64 bits. In a variable of type any a number
//     becomes a [json.Number], not a float64.
//   - A nil slice, map or pointer travels as null and arrives as nil; an empty
//     one arrives empty.
//   - Nothing is escaped for HTML.
//   - A string that is not valid UTF-8 is an error, since JSON cannot carry it:
//     use []byte, which travels as base64, or as it is where all of a large
//     argument or value is one []byte. (A type with its own MarshalJSON or
//     MarshalText answers for its output itself.)
//   - NaN and infinities are errors.
//   - Data after the value is an error, and so is a value that is nested deeper than
//     10,000 levels.
//   - A null is an error where it would become a zero value without a word: in place
//     of an argument, a value, or an item of a tuple, slice, array or map. Pointers,
//     slices, maps, interfaces, struct{}, the Null types of database/sql and types
//     with MarshalJSON or UnmarshalJSON take it.
//   - A type of which something would get lost is refused when a task of it is made:
//     see [Define].
//   - A [json.RawMessage] travels as it is, without its insignificant white
//     space; a nil one arrives as null.
//
// Struct fields follow the rules of encoding/json: unexported fields do not
// travel, unknown fields are ignored, names match without regard to case, and a
// null, for a field or within one, leaves what it stands for at its zero value, as
// if it were absent.
var JSON ArrayCodec = jsonCodec

// jsonCodec is the value of JSON. The methods of tuples use jsonCodec, so that they work even
// if a program assigns another codec to JSON.
var jsonCodec = jsoncodec.New(isTuple, func(tuple any, dst []byte) ([]byte, error) {
	return tuple.(jsonTuple).appendJSON(dst)
})

func isJSON(c Codec) bool {
	_, ok := c.(*jsoncodec.Codec)
	return ok
}

// jsonTuple is what the JSON codec needs of a tuple.
type jsonTuple interface {
	json.Unmarshaler
	appendJSON(dst []byte) ([]byte, error)
}

var tupleType = reflect.TypeFor[jsonTuple]()

func isTuple(t reflect.Type) bool { return reflect.PointerTo(t).Implements(tupleType) }

// appendTuple appends the variables that args point to as an array.
func appendTuple(dst []byte, args ...any) ([]byte, error) {
	data, arg, err := jsonCodec.AppendTuple(dst, args...)
	if err != nil {
		return nil, tupleError(arg, err)
	}
	return data, nil
}

// decodeTuple decodes an array into the variables that args point to.
func decodeTuple(data []byte, args ...any) error {
	if arg, err := jsonCodec.DecodeTuple(data, args...); err != nil {
		return tupleError(arg, err)
	}
	return nil
}

// tupleError blames argument number arg of a tuple, or the whole tuple if arg is
// 0. The task adds its name.
func tupleError(arg int, err error) error {
	return &ArgError{Call: -1, Arg: arg, Err: err}
}
