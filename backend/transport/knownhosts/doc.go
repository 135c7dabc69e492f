// Package knownhosts reads and extends OpenSSH's files of known host keys.
//
// It differs from golang.org/x/crypto/ssh/knownhosts where that package differs from OpenSSH: a line
// that can't be read is passed over, @cert-authority lines match with and without a port, a key known
// for the bare name is good on any port, a certificate without an authority is judged by its plain key,
// and Algorithms says which host key algorithms to offer so that the server shows a key that is known.
//
// Load reads the files, DB.Check judges a key, Add appends one.
package knownhosts
