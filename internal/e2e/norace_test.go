//go:build !race

package e2e_test

// raceEnabled says that everything is several times slower.
const raceEnabled = false
