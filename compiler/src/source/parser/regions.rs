//! The syntax of ops with regions: `kernel`, `if`, `loop` and `scan`.
//!
//! What goes into a region is written as a parameter list, `(%p = %x, %q = %y)`; a region ends with `yield` and what it
//! gives. One that gives nothing need not say so.

use super::super::lexer::TokenKind;
use super::super::syntax::{Argument, BodySyntax, InstSyntax, Name, RegionKind, RegionSyntax, TypeSyntax};
use super::{Noted, Parsed, Parser};
use crate::diagnostic::Span;
use crate::ops::control::MAX_NESTING;

/// Names of a parameter list and the operands they stand for.
type Params = (Vec<Name>, Vec<Argument>);

impl Parser<'_> {
    /// An instruction with regions, from behind the word that names it.
    pub(super) fn regions(
        &mut self,
        start: usize,
        results: Vec<(Name, Option<TypeSyntax>)>,
        op: Name,
        kind: RegionKind,
        depth: usize,
    ) -> Parsed<InstSyntax> {
        if depth >= MAX_NESTING {
            return Err(self.note(op.span, format!("regions nest at most {MAX_NESTING} deep")));
        }
        let mut params: Vec<Name> = Vec::new();
        let mut operands = Vec::new();
        let (mut carried, mut sequences) = (0, 0);
        match kind {
            RegionKind::Kernel => (params, operands) = self.params(false)?,
            RegionKind::If => operands.push(self.argument()?),
            RegionKind::Loop => {
                operands.push(self.argument()?);
                self.expect(TokenKind::Comma, "`,` and the condition of the loop")?;
                operands.push(self.argument()?);
            }
            RegionKind::Scan => {}
        }
        if matches!(kind, RegionKind::Loop | RegionKind::Scan) {
            let (names, inits) = self.params(true)?;
            carried = inits.len();
            params.extend(names);
            operands.extend(inits);
        }
        if kind == RegionKind::Scan && self.is_sequences() {
            let (names, values) = self.sequences()?;
            sequences = values.len();
            params.extend(names);
            operands.extend(values);
        }
        if kind != RegionKind::Kernel && self.peek().kind == TokenKind::OpenParen {
            let (names, args) = self.params(false)?;
            params.extend(names);
            operands.extend(args);
        }
        let braces = self.peek().kind == TokenKind::OpenBrace;
        let has_attributes = braces && self.ahead(1) == TokenKind::Word && self.ahead(2) == TokenKind::Equals;
        let attributes = if has_attributes { self.attributes()? } else { Vec::new() };
        let span = Span { start, end: self.end() };
        let at = self.location()?;
        let mut bodies = vec![self.body(&op, params, depth)?];
        if kind == RegionKind::If {
            bodies.push(self.otherwise(&op, depth)?);
        }
        let regions = Some(RegionSyntax { kind, carried, sequences, bodies });
        Ok(InstSyntax { results, op, operands, attributes, regions, at, span })
    }

    /// `else (%q) { ... }`; the names stand for the same operands as those of the first branch. A branch that is not
    /// there does nothing.
    fn otherwise(&mut self, op: &Name, depth: usize) -> Parsed<BodySyntax> {
        if !self.is_word("else") {
            let at = Span { start: self.end(), end: self.end() };
            return Ok(BodySyntax { params: Vec::new(), insts: Vec::new(), yields: Vec::new(), end: at });
        }
        self.next();
        let mut params = Vec::new();
        if self.eat(TokenKind::OpenParen) {
            while self.peek().kind != TokenKind::CloseParen {
                params.push(self.value("a parameter's name; its operand is that of the first branch")?);
                if !self.eat(TokenKind::Comma) {
                    break;
                }
            }
            self.expect(TokenKind::CloseParen, "`,` or `)`")?;
        }
        self.body(op, params, depth)
    }

    /// `(%p = %x, ...)`; with `counted`, a name without an operand comes first.
    fn params(&mut self, counted: bool) -> Parsed<Params> {
        self.expect(TokenKind::OpenParen, "`(`")?;
        let (mut names, mut operands) = (Vec::new(), Vec::new());
        if counted {
            names.push(self.value("the name of the trip's number, such as `%i`")?);
            if !self.eat(TokenKind::Comma) {
                self.expect(TokenKind::CloseParen, "`,` or `)`")?;
                return Ok((names, operands));
            }
        }
        while self.peek().kind != TokenKind::CloseParen {
            names.push(self.value("a parameter, as in `%p = %x`")?);
            self.expect(TokenKind::Equals, "`=` and the operand")?;
            operands.push(self.argument()?);
            if !self.eat(TokenKind::Comma) {
                break;
            }
        }
        self.expect(TokenKind::CloseParen, "`,` or `)`")?;
        Ok((names, operands))
    }

    /// Whether `(%x in` stands here.
    fn is_sequences(&self) -> bool {
        let opens = self.peek().kind == TokenKind::OpenParen && self.ahead(1) == TokenKind::Value;
        let third = self.tokens[(self.at + 2).min(self.tokens.len() - 1)];
        opens && third.kind == TokenKind::Word && self.written(third.span) == "in"
    }

    /// `(%xt in %xs, ...)`.
    fn sequences(&mut self) -> Parsed<Params> {
        self.expect(TokenKind::OpenParen, "`(`")?;
        let (mut names, mut operands) = (Vec::new(), Vec::new());
        while self.peek().kind != TokenKind::CloseParen {
            names.push(self.value("a parameter, as in `%xt in %xs`")?);
            if !self.is_word("in") {
                return Err(self.expected("`in` and the sequence"));
            }
            self.next();
            operands.push(self.argument()?);
            if !self.eat(TokenKind::Comma) {
                break;
            }
        }
        self.expect(TokenKind::CloseParen, "`,` or `)`")?;
        Ok((names, operands))
    }

    /// `{ insts yield ... }`.
    fn body(&mut self, op: &Name, params: Vec<Name>, depth: usize) -> Parsed<BodySyntax> {
        self.expect(TokenKind::OpenBrace, &format!("`{{` and the body of the {}", op.text))?;
        let mut insts = Vec::new();
        let mut yields = Vec::new();
        let mut ended = false;
        while self.peek().kind != TokenKind::CloseBrace {
            if self.peek().kind == TokenKind::End {
                return Err(self.expected(&format!("`}}` at the end of the {}", op.text)));
            }
            let before = self.at;
            let step = if self.is_word("yield") {
                ended = true;
                self.yields(&mut yields)
            } else {
                self.inst(depth + 1).map(|inst| insts.push(inst))
            };
            if let Err(Noted) = step {
                insts.push(self.broken(before));
                self.resume(before);
            }
        }
        let end = self.next().span;
        // A kernel always gives something; what is missing elsewhere is told when the types are known.
        if !ended && op.text == "kernel" {
            self.note(op.span, format!("expected `yield` at the end of the {}'s body", op.text));
        }
        Ok(BodySyntax { params, insts, yields, end })
    }

    fn yields(&mut self, yields: &mut Vec<Argument>) -> Parsed<()> {
        self.next();
        loop {
            yields.push(self.argument()?);
            if !self.eat(TokenKind::Comma) {
                break;
            }
        }
        if self.peek().kind == TokenKind::CloseBrace { Ok(()) } else { Err(self.expected("`}` after `yield`")) }
    }
}
