package tasks

// Tuple is the argument of a task that takes several: [Args2] and [Args3], and
// no other type. It is the constraint of producer.Starmap.
type Tuple interface {
	// Arity is the number of arguments.
	Arity() int

	tuple()
}

// Args2 is the argument of a task made by [Define2]. It travels as a JSON array
// of two values; any other number of them, or null, is an error.
type Args2[A, B any] struct {
	A A
	B B
}

// Args3 is the argument of a task made by [Define3]. It travels as a JSON array
// of three values; any other number of them, or null, is an error.
type Args3[A, B, C any] struct {
	A A
	B B
	C C
}

// Of2 is an [Args2] without its types spelled out.
func Of2[A, B any](a A, b B) Args2[A, B] { return Args2[A, B]{a, b} }

// Of3 is an [Args3] without its types spelled out.
func Of3[A, B, C any](a A, b B, c C) Args3[A, B, C] { return Args3[A, B, C]{a, b, c} }

// Zip2 pairs the items of as and bs by index. Like Python's zip it stops at the
// end of the shorter one; the rest of the longer one is left out.
func Zip2[A, B any](as []A, bs []B) []Args2[A, B] {
	out := make([]Args2[A, B], min(len(as), len(bs)))
	for i := range out {
		out[i] = Of2(as[i], bs[i])
	}
	return out
}

// Zip3 combines the items of as, bs and cs by index. It stops at the end of the
// shortest.
func Zip3[A, B, C any](as []A, bs []B, cs []C) []Args3[A, B, C] {
	out := make([]Args3[A, B, C], min(len(as), len(bs), len(cs)))
	for i := range out {
		out[i] = Of3(as[i], bs[i], cs[i])
	}
	return out
}

// Arity is 2.
func (Args2[A, B]) Arity() int { return 2 }

// Arity is 3.
func (Args3[A, B, C]) Arity() int { return 3 }

func (Args2[A, B]) tuple()    {}
func (Args3[A, B, C]) tuple() {}

// MarshalJSON encodes the tuple as an array. A failure is an [*ArgError] that
// says which of the arguments it was.
func (t Args2[A, B]) MarshalJSON() ([]byte, error) { return t.appendJSON(nil) }

// MarshalJSON encodes the tuple as an array. A failure is an [*ArgError] that
// says which of the arguments it was.
func (t Args3[A, B, C]) MarshalJSON() ([]byte, error) { return t.appendJSON(nil) }

// UnmarshalJSON decodes an array. A failure is an [*ArgError] that says which
// of the arguments it was; a wrong number of them is one with Arg 0.
func (t *Args2[A, B]) UnmarshalJSON(data []byte) error {
	return decodeTuple(data, &t.A, &t.B)
}

// UnmarshalJSON decodes an array. A failure is an [*ArgError] that says which
// of the arguments it was; a wrong number of them is one with Arg 0.
func (t *Args3[A, B, C]) UnmarshalJSON(data []byte) error {
	return decodeTuple(data, &t.A, &t.B, &t.C)
}

func (t *Args2[A, B]) appendJSON(dst []byte) ([]byte, error) {
	return appendTuple(dst, &t.A, &t.B)
}

func (t *Args3[A, B, C]) appendJSON(dst []byte) ([]byte, error) {
	return appendTuple(dst, &t.A, &t.B, &t.C)
}
