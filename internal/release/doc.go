// Package release tests the modules as a release publishes them: users install the
// programs and import the packages, and do not get what only our tests and programs
// require.
package release
