// Package wire defines the bytes that producers and workers exchange through
// Redis: the arguments, the outcomes and the checkpoint of a chunk.
//
// Frames start with one line of decimal numbers, so that a person who looks at
// a record with redis-cli can read it:
//
//	arguments   "<first> <calls>\n" + the codec's array of arguments
//	outcomes    "<first> <calls> <length of errors>\n" + errors (JSON) + the codec's array of values
//	checkpoint  "<length>\n" + what is not begun and what runs again (JSON) + outcomes
//
// first is the index, in its job, of the chunk's first call. A frame describes
// itself: no reader needs to know how the job was cut.
package wire
