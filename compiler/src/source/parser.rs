//! Tokens to syntax tree.
//!
//! A recursive descent without lookahead beyond two tokens. After a mistake the parser goes on at the next line that
//! begins like an item, so that one mistake costs one diagnostic. Depth is bounded by [`MAX_DEPTH`], work by the number
//! of tokens.

mod regions;

use super::lexer::{Token, TokenKind};
use super::syntax::{
    Argument, AttrSyntax, AttributeSyntax, Extent, Filling, GraphSyntax, InstSyntax, Item, Literal, Name, RegionKind,
    TypeSyntax,
};
use crate::diagnostic::{Diagnostic, Span};
use crate::ir::spelling::unquote;
use crate::types::{DType, InputMode, MAX_RANK};

/// How deep lists may nest.
pub const MAX_DEPTH: usize = 8;

/// Diagnostics beyond this number are not kept; a text that long off the language is not worth more lines.
pub const MAX_MISTAKES: usize = 100;

/// A mistake has been noted; the caller goes on at the next item.
struct Noted;

type Parsed<T> = Result<T, Noted>;

struct Parser<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
    mistakes: Vec<Diagnostic>,
}

/// The tree of the one graph in `text`, as far as it could be read, and every mistake in order.
pub fn parse(text: &str, tokens: &[Token]) -> (Option<GraphSyntax>, Vec<Diagnostic>) {
    let mut parser = Parser { text, tokens, at: 0, mistakes: Vec::new() };
    let graph = parser.graph().ok();
    (graph, parser.mistakes)
}

impl Parser<'_> {
    fn peek(&self) -> Token {
        self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn ahead(&self, n: usize) -> TokenKind {
        self.tokens[(self.at + n).min(self.tokens.len() - 1)].kind
    }

    fn written(&self, span: Span) -> &str {
        &self.text[span.start..span.end]
    }

    fn is_word(&self, word: &str) -> bool {
        let token = self.peek();
        token.kind == TokenKind::Word && self.written(token.span) == word
    }

    fn next(&mut self) -> Token {
        let token = self.peek();
        if token.kind != TokenKind::End {
            self.at += 1;
        }
        token
    }

    fn eat(&mut self, kind: TokenKind) -> bool {
        let found = self.peek().kind == kind;
        if found {
            self.at += 1;
        }
        found
    }

    fn note(&mut self, span: Span, message: impl Into<String>) -> Noted {
        if self.mistakes.len() < MAX_MISTAKES {
            self.mistakes.push(Diagnostic::at(span, message));
        }
        Noted
    }

    /// "expected ..., found ..." at the token that stands here.
    fn expected(&mut self, what: &str) -> Noted {
        let token = self.peek();
        let found = match token.kind {
            TokenKind::Word | TokenKind::Value | TokenKind::Number => {
                let shown: String = self.written(token.span).chars().take(40).collect();
                format!("`{shown}`")
            }
            kind => kind.describe().to_string(),
        };
        self.note(token.span, format!("expected {what}, found {found}"))
    }

    fn expect(&mut self, kind: TokenKind, what: &str) -> Parsed<Token> {
        if self.peek().kind == kind { Ok(self.next()) } else { Err(self.expected(what)) }
    }

    /// The end of the last token read.
    fn end(&self) -> usize {
        self.tokens[self.at.saturating_sub(1)].span.end
    }

    fn value(&mut self, what: &str) -> Parsed<Name> {
        let span = self.expect(TokenKind::Value, what)?.span;
        Ok(self.named(span))
    }

    /// The name in a value's token.
    fn named(&self, span: Span) -> Name {
        let written = self.written(span);
        let numbered = written[1..].bytes().all(|byte| byte.is_ascii_digit());
        Name { text: unquote(written), span, numbered }
    }

    fn word(&mut self, what: &str) -> Parsed<Name> {
        let span = self.expect(TokenKind::Word, what)?.span;
        Ok(Name { text: self.written(span).to_string(), span, numbered: false })
    }

    /// A word or a quoted text.
    fn label(&mut self, what: &str) -> Parsed<Name> {
        if self.peek().kind == TokenKind::Text {
            let span = self.next().span;
            return Ok(Name { text: unquote(self.written(span)), span, numbered: false });
        }
        self.word(what)
    }

    fn graph(&mut self) -> Parsed<GraphSyntax> {
        if !self.is_word("graph") {
            return Err(self.expected("`graph NAME {`"));
        }
        self.next();
        let name = self.label("the graph's name")?;
        self.expect(TokenKind::OpenBrace, "`{`")?;
        let mut items = Vec::new();
        loop {
            if self.eat(TokenKind::CloseBrace) {
                break;
            }
            if self.peek().kind == TokenKind::End {
                self.expected("`}` at the end of the graph");
                break;
            }
            let before = self.at;
            match self.item() {
                Ok(item) => items.push(item),
                Err(Noted) => {
                    items.push(Item::Inst(self.broken(before)));
                    self.resume(before);
                }
            }
        }
        if self.mistakes.is_empty() && self.peek().kind != TokenKind::End {
            self.expected("nothing after the graph");
        }
        Ok(GraphSyntax { name, items })
    }

    /// What an item that could not be read would have defined, so that its uses are no mistakes of their own.
    fn broken(&self, before: usize) -> InstSyntax {
        let mut results = Vec::new();
        let declares = self.tokens[before].kind == TokenKind::Word;
        for (place, token) in self.tokens[before..].iter().enumerate() {
            let ends = token.kind == TokenKind::Equals || (place > 0 && token.first_on_line);
            if ends || (declares && place > 1) {
                break;
            }
            if token.kind == TokenKind::Value {
                results.push((self.named(token.span), None));
            }
        }
        let span = self.tokens[before].span;
        let op = Name { text: String::new(), span, numbered: false };
        InstSyntax { results, op, operands: Vec::new(), attributes: Vec::new(), regions: None, at: None, span }
    }

    /// Goes to the next line that can begin an item.
    fn resume(&mut self, before: usize) {
        if self.at == before {
            self.next();
        }
        // A brace at the end of a line opens a block, which belongs to what is skipped.
        let mut blocks = 0usize;
        loop {
            let token = self.peek();
            match token.kind {
                TokenKind::End => return,
                TokenKind::CloseBrace if token.first_on_line && blocks > 0 => blocks -= 1,
                TokenKind::Value | TokenKind::Word | TokenKind::CloseBrace if token.first_on_line && blocks == 0 => {
                    return;
                }
                _ => {}
            }
            self.next();
            if token.kind == TokenKind::OpenBrace && self.peek().first_on_line {
                blocks += 1;
            }
        }
    }

    fn item(&mut self) -> Parsed<Item> {
        let token = self.peek();
        if token.kind == TokenKind::Word {
            match self.written(token.span) {
                "input" => return self.input(InputMode::Read),
                "donate" => return self.input(InputMode::Donate),
                "inout" => return self.input(InputMode::InOut),
                "const" => return self.constant(),
                "state" => return self.state(),
                "weights" => return self.weights(),
                "apart" => return self.apart(),
                "final" => return self.final_value(),
                "return" => return self.outputs(),
                _ => {}
            }
        }
        match token.kind {
            TokenKind::Word | TokenKind::Value => Ok(Item::Inst(self.inst(0)?)),
            _ => Err(self.expected("`input`, `const`, `return` or an instruction")),
        }
    }

    fn input(&mut self, mode: InputMode) -> Parsed<Item> {
        let start = self.next().span.start;
        let name = self.value("the input's name, such as `%x`")?;
        self.expect(TokenKind::Colon, "`:` and the input's type")?;
        let ty = self.tensor_type()?;
        let initial = if self.eat(TokenKind::Equals) { Some(self.filling()?) } else { None };
        Ok(Item::Input { mode, name, ty, initial, span: Span { start, end: self.end() } })
    }

    fn state(&mut self) -> Parsed<Item> {
        self.next();
        let name = self.label("the name of a part of the state, such as `\"layer.b\"`")?;
        self.expect(TokenKind::Equals, "`=` and the `inout` input it is a part of")?;
        let input = self.value("the `inout` input it is a part of")?;
        Ok(Item::State { name, input, attributes: self.attributes()? })
    }

    fn weights(&mut self) -> Parsed<Item> {
        self.next();
        let span = self.expect(TokenKind::Text, "the name of a file in quotes")?.span;
        Ok(Item::Weights(Name { text: unquote(self.written(span)), span, numbered: false }))
    }

    fn apart(&mut self) -> Parsed<Item> {
        self.next();
        let span = self.expect(TokenKind::Text, "in quotes, why inputs must not share bytes")?.span;
        Ok(Item::Apart(Name { text: unquote(self.written(span)), span, numbered: false }))
    }

    /// `at "model.py:98"` on the same line.
    fn location(&mut self) -> Parsed<Option<Span>> {
        if !self.is_word("at") || self.peek().first_on_line {
            return Ok(None);
        }
        self.next();
        Ok(Some(self.expect(TokenKind::Text, "a place in quotes, as in `at \"model.py:98\"`")?.span))
    }

    fn tensor_type(&mut self) -> Parsed<TypeSyntax> {
        let what = "a type, such as `f32[2, 3]`";
        if self.peek().kind != TokenKind::Word {
            return Err(self.expected(what));
        }
        let span = self.peek().span;
        let Some(dtype) = DType::from_name(self.written(span)) else {
            let names: Vec<&str> = DType::ALL.iter().map(|dtype| dtype.name()).collect();
            return Err(self.expected(&format!("a dtype ({})", names.join(", "))));
        };
        self.next();
        self.expect(TokenKind::OpenBracket, "`[` and the shape")?;
        let mut extents = Vec::new();
        while self.peek().kind != TokenKind::CloseBracket {
            let token = self.peek();
            let extent = match token.kind {
                TokenKind::Number => match self.written(token.span).parse::<u64>() {
                    Ok(extent) => Extent::Number(extent),
                    Err(_) => return Err(self.expected("an extent that is not negative")),
                },
                TokenKind::Word if is_symbol(self.written(token.span)) => {
                    Extent::Symbol(self.written(token.span).to_string())
                }
                _ => return Err(self.expected("an extent: a number, or a symbol in upper case such as `B`")),
            };
            self.next();
            extents.push((extent, token.span));
            if !self.eat(TokenKind::Comma) {
                break;
            }
        }
        self.expect(TokenKind::CloseBracket, "`,` or `]`")?;
        let span = Span { start: span.start, end: self.end() };
        if extents.len() > MAX_RANK {
            return Err(self.note(span, format!("a tensor has at most {MAX_RANK} axes, found {}", extents.len())));
        }
        Ok(TypeSyntax { dtype, extents, span })
    }

    fn constant(&mut self) -> Parsed<Item> {
        let start = self.next().span.start;
        let name = self.value("the constant's name, such as `%w`")?;
        self.expect(TokenKind::Colon, "`:` and the constant's type")?;
        let ty = self.tensor_type()?;
        self.expect(TokenKind::Equals, "`=` and the constant's elements")?;
        let filling = self.filling()?;
        Ok(Item::Constant { name, ty, filling, span: Span { start, end: self.end() } })
    }

    fn filling(&mut self) -> Parsed<Filling> {
        let what = "`seeded(...)`, `splat(...)`, `arange(...)`, `hex(...)`, `safetensors(...)` or a list of numbers";
        if self.eat(TokenKind::OpenBracket) {
            let numbers = self.numbers(TokenKind::CloseBracket)?;
            return Ok(Filling::List(numbers));
        }
        if self.peek().kind != TokenKind::Word {
            return Err(self.expected(what));
        }
        let span = self.peek().span;
        let kind = self.written(span).to_string();
        if !matches!(kind.as_str(), "seeded" | "splat" | "arange" | "hex" | "safetensors") {
            return Err(self.expected(what));
        }
        self.next();
        self.expect(TokenKind::OpenParen, "`(`")?;
        match kind.as_str() {
            "seeded" => {
                let distribution = self.word("`normal` or `uniform`")?;
                let mut settings = Vec::new();
                while self.eat(TokenKind::Comma) && self.peek().kind != TokenKind::CloseParen {
                    let name = self.word("a setting, such as `std=0.02`")?;
                    self.expect(TokenKind::Equals, "`=`")?;
                    let value = self.expect(TokenKind::Number, "a number")?.span;
                    settings.push((name, value));
                }
                self.expect(TokenKind::CloseParen, "`,` or `)`")?;
                Ok(Filling::Seeded { distribution, settings })
            }
            "splat" => {
                let value = self.number_or_bool()?;
                self.expect(TokenKind::CloseParen, "`)`")?;
                Ok(Filling::Splat(value))
            }
            "arange" => Ok(Filling::Arange(self.numbers(TokenKind::CloseParen)?)),
            "safetensors" => {
                let span = self.expect(TokenKind::Text, "the name of an array in quotes")?.span;
                self.expect(TokenKind::CloseParen, "`)`")?;
                Ok(Filling::Stored(Name { text: unquote(self.written(span)), span, numbered: false }))
            }
            _ => {
                let digits = self.expect(TokenKind::Text, "hexadecimal digits in quotes")?.span;
                self.expect(TokenKind::CloseParen, "`)`")?;
                Ok(Filling::Hex(digits))
            }
        }
    }

    fn number_or_bool(&mut self) -> Parsed<Span> {
        if self.is_word("true") || self.is_word("false") {
            return Ok(self.next().span);
        }
        Ok(self.expect(TokenKind::Number, "a number")?.span)
    }

    fn numbers(&mut self, close: TokenKind) -> Parsed<Vec<Span>> {
        let mut numbers = Vec::new();
        while self.peek().kind != close {
            numbers.push(self.number_or_bool()?);
            if !self.eat(TokenKind::Comma) {
                break;
            }
        }
        self.expect(close, if close == TokenKind::CloseParen { "`,` or `)`" } else { "`,` or `]`" })?;
        Ok(numbers)
    }

    fn final_value(&mut self) -> Parsed<Item> {
        self.next();
        let input = self.value("the name of an `inout` input")?;
        self.expect(TokenKind::Equals, "`=` and the value its bytes hold in the end")?;
        Ok(Item::Final { input, value: self.argument()? })
    }

    fn outputs(&mut self) -> Parsed<Item> {
        let start = self.next().span.start;
        let mut outputs = Vec::new();
        while self.peek().kind != TokenKind::CloseBrace {
            let named = self.ahead(1) == TokenKind::Equals;
            let name = if named {
                let name = self.label("the output's name")?;
                self.expect(TokenKind::Equals, "`=`")?;
                Some(name)
            } else {
                None
            };
            outputs.push((name, self.argument()?));
            if !self.eat(TokenKind::Comma) {
                break;
            }
        }
        Ok(Item::Return { outputs, span: Span { start, end: self.end() } })
    }

    /// A value, a number, or a number with its dtype: `f32(2.0)`.
    fn argument(&mut self) -> Parsed<Argument> {
        let token = self.peek();
        match token.kind {
            TokenKind::Value => Ok(Argument::Value(self.value("a value")?)),
            TokenKind::Word if self.is_word("true") || self.is_word("false") => {
                Ok(Argument::Literal(Literal { dtype: None, span: self.next().span }))
            }
            TokenKind::Word if self.ahead(1) == TokenKind::OpenParen => {
                let Some(dtype) = DType::from_name(self.written(token.span)) else {
                    return Err(self.expected("a value or a number"));
                };
                self.next();
                self.next();
                let span = self.number_or_bool()?;
                self.expect(TokenKind::CloseParen, "`)`")?;
                Ok(Argument::Literal(Literal { dtype: Some(dtype), span }))
            }
            TokenKind::Number => Ok(Argument::Literal(Literal { dtype: None, span: self.next().span })),
            _ => Err(self.expected("a value or a number")),
        }
    }

    fn inst(&mut self, depth: usize) -> Parsed<InstSyntax> {
        let start = self.peek().span.start;
        let mut results = Vec::new();
        if self.peek().kind == TokenKind::Value {
            loop {
                let name = self.value("a result's name")?;
                let ty = if self.eat(TokenKind::Colon) { Some(self.tensor_type()?) } else { None };
                results.push((name, ty));
                if !self.eat(TokenKind::Comma) {
                    break;
                }
            }
            self.expect(TokenKind::Equals, "`=` and an op")?;
        }
        let op = self.word("an op")?;
        if let Some(kind) = RegionKind::from_name(&op.text) {
            return self.regions(start, results, op, kind, depth);
        }
        let mut operands = Vec::new();
        let first = self.peek();
        let literal_word = self.is_word("true")
            || self.is_word("false")
            || (first.kind == TokenKind::Word && self.ahead(1) == TokenKind::OpenParen);
        let begins_operand = matches!(first.kind, TokenKind::Value | TokenKind::Number) || literal_word;
        if !first.first_on_line && begins_operand {
            loop {
                operands.push(self.argument()?);
                if !self.eat(TokenKind::Comma) {
                    break;
                }
            }
        }
        if results.is_empty() && self.peek().kind == TokenKind::Colon {
            let message = format!("`{}` declares nothing; expected `input`, `donate`, `inout` or `const`", op.text);
            return Err(self.note(op.span, message));
        }
        let attributes = if self.peek().kind == TokenKind::OpenBrace { self.attributes()? } else { Vec::new() };
        let span = Span { start, end: self.end() };
        let at = self.location()?;
        self.end_of_line()?;
        Ok(InstSyntax { results, op, operands, attributes, regions: None, at, span })
    }

    /// The next item must begin a line: what is left on this one is a mistake here, not there.
    fn end_of_line(&mut self) -> Parsed<()> {
        let token = self.peek();
        let ends = token.first_on_line || matches!(token.kind, TokenKind::CloseBrace | TokenKind::End);
        if ends { Ok(()) } else { Err(self.expected("`,`, attributes in braces, or the end of the line")) }
    }

    fn attributes(&mut self) -> Parsed<Vec<AttributeSyntax>> {
        self.expect(TokenKind::OpenBrace, "`{`")?;
        let mut attributes = Vec::new();
        while self.peek().kind != TokenKind::CloseBrace {
            let name = self.word("an attribute, such as `axis=1`")?;
            self.expect(TokenKind::Equals, "`=` and the attribute's value")?;
            attributes.push(AttributeSyntax { name, value: self.attribute_value(0)? });
            if !self.eat(TokenKind::Comma) {
                break;
            }
        }
        self.expect(TokenKind::CloseBrace, "`,` or `}`")?;
        Ok(attributes)
    }

    fn attribute_value(&mut self, depth: usize) -> Parsed<AttrSyntax> {
        let token = self.peek();
        match token.kind {
            TokenKind::Number => Ok(AttrSyntax::Number(self.next().span)),
            TokenKind::Word => {
                let name = self.word("a word")?;
                Ok(AttrSyntax::Word(name.text, name.span))
            }
            TokenKind::OpenBracket => {
                if depth >= MAX_DEPTH {
                    return Err(self.note(token.span, format!("lists nest at most {MAX_DEPTH} deep")));
                }
                self.next();
                let mut items = Vec::new();
                while self.peek().kind != TokenKind::CloseBracket {
                    items.push(self.attribute_value(depth + 1)?);
                    if !self.eat(TokenKind::Comma) {
                        break;
                    }
                }
                self.expect(TokenKind::CloseBracket, "`,` or `]`")?;
                Ok(AttrSyntax::List(items, Span { start: token.span.start, end: self.end() }))
            }
            _ => Err(self.expected("a number, a word or a list in brackets")),
        }
    }
}

/// Whether a word is a symbol for an extent: symbols begin in upper case, all other words in lower case.
pub fn is_symbol(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_uppercase())
}
