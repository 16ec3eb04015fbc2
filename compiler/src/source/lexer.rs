//! Text to tokens.
//!
//! A token is a kind and a span of the source; its characters are looked up when they are needed, so a long text costs
//! one small record a token. Comments and white space end tokens and are dropped, but a token remembers whether it is
//! the first of its line: the parser resumes there after a mistake.

use crate::diagnostic::{Diagnostic, Span};
use crate::ir::spelling::{MAX_NAME, word_rest};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Letters, digits, `_` and `.`, not beginning with a digit: keywords, ops, attributes, dtypes, symbols.
    Word,
    /// `%name` or `%"any name"`.
    Value,
    /// `12`, `-0.5`, `1e-5`, `0x7f800000`, `inf`, `-inf`, `nan`.
    Number,
    /// `"..."`.
    Text,
    OpenBrace,
    CloseBrace,
    OpenParen,
    CloseParen,
    OpenBracket,
    CloseBracket,
    Comma,
    Colon,
    Equals,
    End,
}

impl TokenKind {
    /// The kind in a sentence: "expected a value, found a number".
    pub fn describe(self) -> &'static str {
        match self {
            TokenKind::Word => "a word",
            TokenKind::Value => "a value",
            TokenKind::Number => "a number",
            TokenKind::Text => "a quoted text",
            TokenKind::OpenBrace => "`{`",
            TokenKind::CloseBrace => "`}`",
            TokenKind::OpenParen => "`(`",
            TokenKind::CloseParen => "`)`",
            TokenKind::OpenBracket => "`[`",
            TokenKind::CloseBracket => "`]`",
            TokenKind::Comma => "`,`",
            TokenKind::Colon => "`:`",
            TokenKind::Equals => "`=`",
            TokenKind::End => "the end of the text",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    pub span: Span,
    /// Whether no other token stands before it on its line.
    pub first_on_line: bool,
}

/// All tokens of `text`, the last of kind [`TokenKind::End`], and what could not be read.
pub fn lex(text: &str) -> (Vec<Token>, Vec<Diagnostic>) {
    let mut lexer =
        Lexer { text, bytes: text.as_bytes(), at: 0, first: true, tokens: Vec::new(), mistakes: Vec::new() };
    lexer.run();
    (lexer.tokens, lexer.mistakes)
}

struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    first: bool,
    tokens: Vec<Token>,
    mistakes: Vec<Diagnostic>,
}

fn word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn push(&mut self, kind: TokenKind, start: usize) {
        self.tokens.push(Token { kind, span: Span { start, end: self.at }, first_on_line: self.first });
        self.first = false;
    }

    fn skip_while(&mut self, accept: impl Fn(u8) -> bool) {
        while self.bytes.get(self.at).is_some_and(|&byte| accept(byte)) {
            self.at += 1;
        }
    }

    fn run(&mut self) {
        while let Some(&byte) = self.bytes.get(self.at) {
            let start = self.at;
            match byte {
                b'\n' => {
                    self.first = true;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'/' if self.peek(1) == b'/' => self.skip_while(|byte| byte != b'\n'),
                b'{' => self.single(TokenKind::OpenBrace),
                b'}' => self.single(TokenKind::CloseBrace),
                b'(' => self.single(TokenKind::OpenParen),
                b')' => self.single(TokenKind::CloseParen),
                b'[' => self.single(TokenKind::OpenBracket),
                b']' => self.single(TokenKind::CloseBracket),
                b',' => self.single(TokenKind::Comma),
                b':' => self.single(TokenKind::Colon),
                b'=' => self.single(TokenKind::Equals),
                b'"' => self.quoted(TokenKind::Text, start),
                b'%' => self.value(start),
                b'-' | b'+' | b'0'..=b'9' => self.number(start),
                _ if word_start(byte) => self.word(start),
                _ => self.junk(start),
            }
        }
        // A parser that stands at the end must be able to resume there.
        self.first = true;
        self.push(TokenKind::End, self.at);
    }

    fn single(&mut self, kind: TokenKind) {
        let start = self.at;
        self.at += 1;
        self.push(kind, start);
    }

    fn word(&mut self, start: usize) {
        self.skip_while(word_rest);
        let kind = match &self.text[start..self.at] {
            "inf" | "nan" | "NaN" => TokenKind::Number,
            _ => TokenKind::Word,
        };
        self.check_name(start);
        self.push(kind, start);
    }

    fn value(&mut self, start: usize) {
        self.at += 1;
        if self.peek(0) == b'"' {
            return self.quoted(TokenKind::Value, start);
        }
        self.skip_while(word_rest);
        if self.at == start + 1 {
            let span = Span { start, end: self.at };
            self.mistakes.push(Diagnostic::at(span, "expected a name after `%`"));
            return;
        }
        self.check_name(start);
        self.push(TokenKind::Value, start);
    }

    fn check_name(&mut self, start: usize) {
        let len = self.at - start;
        if len > MAX_NAME {
            let span = Span { start, end: self.at };
            let message = format!("a name has at most {MAX_NAME} characters, found {len}");
            self.mistakes.push(Diagnostic::at(span, message));
        }
    }

    fn quoted(&mut self, kind: TokenKind, start: usize) {
        self.at += 1;
        loop {
            match self.peek(0) {
                b'"' => {
                    self.at += 1;
                    return self.push(kind, start);
                }
                b'\\' if self.at + 1 < self.bytes.len() && self.peek(1) != b'\n' => self.at += 2,
                b'\n' => break,
                _ if self.at >= self.bytes.len() => break,
                _ => self.at += 1,
            }
        }
        self.at = self.at.min(self.bytes.len());
        let span = Span { start, end: self.at };
        self.mistakes.push(Diagnostic::at(span, "expected a closing `\"` on the same line"));
    }

    fn number(&mut self, start: usize) {
        if matches!(self.bytes[start], b'-' | b'+') {
            self.at += 1;
        }
        // A sign of an exponent is the only sign inside a number.
        loop {
            self.skip_while(word_rest);
            let exponent = self.at > start && matches!(self.bytes[self.at - 1], b'e' | b'E');
            let hexadecimal = self.text.as_bytes()[start..self.at].starts_with(b"0x");
            let sign = matches!(self.peek(0), b'-' | b'+') && self.peek(1).is_ascii_digit();
            if exponent && sign && !hexadecimal {
                self.at += 1;
            } else {
                break;
            }
        }
        let written = &self.text[start..self.at];
        let good = match written.strip_prefix("0x") {
            Some(digits) => !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
            None => written.len() <= MAX_NAME && written.parse::<f64>().is_ok(),
        };
        if !good {
            let shown: String = written.chars().take(40).collect();
            let span = Span { start, end: self.at };
            self.mistakes.push(Diagnostic::at(span, format!("`{shown}` is not a number")));
        }
        self.push(TokenKind::Number, start);
    }

    /// One diagnostic for a run of characters that begin no token.
    fn junk(&mut self, start: usize) {
        self.skip_while(|byte| {
            !(word_start(byte)
                || byte.is_ascii_digit()
                || byte.is_ascii_whitespace()
                || b"{}()[],:=\"%-+/".contains(&byte))
        });
        // A single `/` is junk as well, and must not be met again.
        if self.at == start {
            self.at += 1;
        }
        while !self.text.is_char_boundary(self.at) {
            self.at += 1;
        }
        let shown: String = self.text[start..self.at].chars().take(20).collect();
        let span = Span { start, end: self.at };
        self.mistakes.push(Diagnostic::at(span, format!("unexpected {shown:?}")));
    }
}
