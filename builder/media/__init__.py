"""The only files that touch a decoder. They run inside the guarded child (`guard.Guard`), on files nobody trusts."""
