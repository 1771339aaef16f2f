package postgres

// Abandon gives the folder free and leaves the server running, as the crash
// of a program does where the kernel does not stop its children.
func (s *Server) Abandon() { s.close() }
