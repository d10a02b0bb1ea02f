//! Parses tokens into a query. Precedence, from loosest to tightest: `OR`, `AND`, `NOT`,
//! comparisons, primaries.

use super::SoqlError;
use super::lexer::{Token, tokens};

/// An expression as written. Names are not resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expr {
    Name(String),
    Text(String),
    Number(String),
    Bool(bool),
    Null,
    CountAll,
    Call {
        name: String,
        distinct: bool,
        args: Vec<Expr>,
    },
    Compare {
        op: Op,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    In {
        what: Box<Expr>,
        list: Vec<Expr>,
    },
    Like {
        what: Box<Expr>,
        pattern: Box<Expr>,
    },
    IsNull(Box<Expr>),
    Negated(Box<Expr>),
}

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// One selected item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selected {
    AllUser,
    AllSystem,
    Expr { expr: Expr, alias: Option<String> },
}

/// A query with its clauses as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Query {
    pub(super) select: Vec<Selected>,
    pub(super) filter: Option<Expr>,
    pub(super) group: Vec<Expr>,
    pub(super) having: Option<Expr>,
    pub(super) order: Vec<(Expr, bool)>,
    pub(in super::super) limit: Option<u64>,
    pub(in super::super) offset: u64,
}

/// Adds one clause to the query, given as a parameter such as `$where`.
pub(in super::super) fn parse_clause(
    query: &mut Query,
    clause: &str,
    text: &str,
) -> Result<bool, SoqlError> {
    let mut parser = Parser::new(text)?;
    match clause {
        "$select" => query.select = parser.selection()?,
        "$where" => query.and(parser.expr()?),
        "$group" => query.group = parser.list()?,
        "$having" => query.having = Some(parser.expr()?),
        "$order" => query.order = parser.ordering()?,
        "$limit" => query.limit = Some(parser.count()?),
        "$offset" => query.offset = parser.count()?,
        _ => return Ok(false),
    }
    parser.end()?;
    Ok(true)
}

/// Parses a whole statement, as in `$query`.
pub(in super::super) fn parse_statement(text: &str) -> Result<Query, SoqlError> {
    let mut parser = Parser::new(text)?;
    let mut query = Query::default();
    if parser.keyword("select") {
        query.select = parser.selection()?;
    }
    if parser.keyword("where") {
        query.filter = Some(parser.expr()?);
    }
    if parser.keyword("group") {
        parser.expect_word("by")?;
        query.group = parser.list()?;
    }
    if parser.keyword("having") {
        query.having = Some(parser.expr()?);
    }
    if parser.keyword("order") {
        parser.expect_word("by")?;
        query.order = parser.ordering()?;
    }
    if parser.keyword("limit") {
        query.limit = Some(parser.count()?);
    }
    if parser.keyword("offset") {
        query.offset = parser.count()?;
    }
    parser.end()?;
    Ok(query)
}

/// Adds the filter of a parameter `?column=value`.
pub(in super::super) fn simple_filter(query: &mut Query, column: &str, value: &str) {
    query.and(Expr::Compare {
        op: Op::Eq,
        left: Box::new(Expr::Name(column.to_owned())),
        right: Box::new(Expr::Text(value.to_owned())),
    });
}

impl Query {
    fn and(&mut self, expr: Expr) {
        self.filter = Some(match self.filter.take() {
            Some(before) => Expr::And(Box::new(before), Box::new(expr)),
            None => expr,
        });
    }
}

/// Maximum nesting, so that a hostile query cannot exhaust the stack.
const MAX_DEPTH: usize = 100;

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, usize)>,
    next: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Parser<'a>, SoqlError> {
        Ok(Parser {
            text,
            tokens: tokens(text)?,
            next: 0,
            depth: 0,
        })
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.next.min(self.tokens.len() - 1)].0
    }

    fn keyword(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(found) if found.eq_ignore_ascii_case(word));
        self.next += usize::from(found);
        found
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Token::Symbol(found) if *found == symbol);
        self.next += usize::from(found);
        found
    }

    fn expect_word(&mut self, word: &str) -> Result<(), SoqlError> {
        if self.keyword(word) {
            Ok(())
        } else {
            Err(self.unexpected(&word.to_uppercase()))
        }
    }

    fn expect_symbol(&mut self, symbol: &str) -> Result<(), SoqlError> {
        if self.symbol(symbol) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{symbol}'")))
        }
    }

    fn end(&self) -> Result<(), SoqlError> {
        if *self.peek() == Token::End {
            Ok(())
        } else {
            Err(self.unexpected("end of input"))
        }
    }

    fn unexpected(&self, expected: &str) -> SoqlError {
        let (token, at) = &self.tokens[self.next.min(self.tokens.len() - 1)];
        let got = match token {
            Token::Word(word) | Token::Quoted(word) => word.clone(),
            Token::Text(text) => format!("'{text}'"),
            Token::Number(number) => number.clone(),
            Token::Symbol(symbol) => (*symbol).to_owned(),
            Token::End => "end of input".to_owned(),
        };
        let what = format!("Expected {expected}, but got `{got}'");
        SoqlError::Parse {
            text: self.text.to_owned(),
            at: *at,
            what,
        }
    }

    fn selection(&mut self) -> Result<Vec<Selected>, SoqlError> {
        let mut selected = Vec::new();
        loop {
            selected.push(if self.symbol("*") {
                Selected::AllUser
            } else if self.symbol(":*") {
                Selected::AllSystem
            } else {
                let expr = self.expr()?;
                let alias = if self.keyword("as") {
                    Some(self.name()?)
                } else {
                    None
                };
                Selected::Expr { expr, alias }
            });
            if !self.symbol(",") {
                return Ok(selected);
            }
        }
    }

    fn name(&mut self) -> Result<String, SoqlError> {
        match self.peek().clone() {
            Token::Word(name) | Token::Quoted(name) => {
                self.next += 1;
                Ok(name)
            }
            _ => Err(self.unexpected("an identifier")),
        }
    }

    fn list(&mut self) -> Result<Vec<Expr>, SoqlError> {
        let mut list = vec![self.expr()?];
        while self.symbol(",") {
            list.push(self.expr()?);
        }
        Ok(list)
    }

    fn ordering(&mut self) -> Result<Vec<(Expr, bool)>, SoqlError> {
        let mut list = Vec::new();
        loop {
            let expr = self.expr()?;
            let descending = self.keyword("desc");
            if !descending {
                self.keyword("asc");
            }
            list.push((expr, descending));
            if !self.symbol(",") {
                return Ok(list);
            }
        }
    }

    fn count(&mut self) -> Result<u64, SoqlError> {
        let count = match self.peek() {
            Token::Number(number) => number.parse().ok(),
            _ => None,
        };
        self.next += usize::from(count.is_some());
        count.ok_or_else(|| self.unexpected("a non-negative integer"))
    }

    fn expr(&mut self) -> Result<Expr, SoqlError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.unexpected("a shallower expression"));
        }
        let mut left = self.conjunction()?;
        while self.keyword("or") {
            left = Expr::Or(Box::new(left), Box::new(self.conjunction()?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Expr, SoqlError> {
        let mut left = self.negation()?;
        while self.keyword("and") {
            left = Expr::And(Box::new(left), Box::new(self.negation()?));
        }
        Ok(left)
    }

    fn negation(&mut self) -> Result<Expr, SoqlError> {
        let mut negated = false;
        while self.keyword("not") {
            negated = !negated;
        }
        let inner = self.comparison()?;
        Ok(if negated {
            Expr::Not(Box::new(inner))
        } else {
            inner
        })
    }

    fn comparison(&mut self) -> Result<Expr, SoqlError> {
        let left = self.primary()?;
        if self.keyword("is") {
            let negated = self.keyword("not");
            self.expect_word("null")?;
            return Ok(not_if(negated, Expr::IsNull(Box::new(left))));
        }
        let negated = self.keyword("not");
        if self.keyword("in") {
            self.expect_symbol("(")?;
            let list = self.list()?;
            self.expect_symbol(")")?;
            return Ok(not_if(
                negated,
                Expr::In {
                    what: Box::new(left),
                    list,
                },
            ));
        }
        if self.keyword("between") {
            return Ok(not_if(negated, self.between(&left)?));
        }
        if self.keyword("like") {
            let pattern = Box::new(self.primary()?);
            return Ok(not_if(
                negated,
                Expr::Like {
                    what: Box::new(left),
                    pattern,
                },
            ));
        }
        if negated {
            return Err(self.unexpected("IN, BETWEEN or LIKE"));
        }
        let Some(op) = self.operator() else {
            return Ok(left);
        };
        let right = self.primary()?;
        Ok(Expr::Compare {
            op,
            left: Box::new(left),
            right: Box::new(right),
        })
    }

    fn between(&mut self, what: &Expr) -> Result<Expr, SoqlError> {
        let low = self.primary()?;
        self.expect_word("and")?;
        let high = self.primary()?;
        let compare = |op, right| Expr::Compare {
            op,
            left: Box::new(what.clone()),
            right: Box::new(right),
        };
        Ok(Expr::And(
            Box::new(compare(Op::Ge, low)),
            Box::new(compare(Op::Le, high)),
        ))
    }

    fn operator(&mut self) -> Option<Op> {
        let Token::Symbol(symbol) = self.peek() else {
            return None;
        };
        let op = match *symbol {
            "=" | "==" => Op::Eq,
            "!=" | "<>" => Op::Ne,
            "<" => Op::Lt,
            "<=" => Op::Le,
            ">" => Op::Gt,
            ">=" => Op::Ge,
            _ => return None,
        };
        self.next += 1;
        Some(op)
    }

    fn primary(&mut self) -> Result<Expr, SoqlError> {
        match self.peek().clone() {
            Token::Text(text) => {
                self.next += 1;
                Ok(Expr::Text(text))
            }
            Token::Number(number) => {
                self.next += 1;
                Ok(Expr::Number(number))
            }
            Token::Symbol("-") => {
                self.next += 1;
                if let Token::Number(number) = self.peek().clone() {
                    self.next += 1;
                    return Ok(Expr::Number(format!("-{number}")));
                }
                Ok(Expr::Negated(Box::new(self.comparable()?)))
            }
            _ => self.comparable(),
        }
    }

    fn comparable(&mut self) -> Result<Expr, SoqlError> {
        if self.symbol("(") {
            let inner = self.expr()?;
            self.expect_symbol(")")?;
            return Ok(inner);
        }
        let quoted = matches!(self.peek(), Token::Quoted(_));
        if !matches!(self.peek(), Token::Word(_) | Token::Quoted(_)) {
            return Err(self.unexpected("an expression"));
        }
        let name = self.name()?;
        if self.symbol("(") {
            return self.call(&name);
        }
        Ok(match name.to_lowercase().as_str() {
            "true" if !quoted => Expr::Bool(true),
            "false" if !quoted => Expr::Bool(false),
            "null" if !quoted => Expr::Null,
            "from" | "where" | "select" | "group" | "order" | "by" if !quoted => {
                self.next -= 1;
                return Err(self.unexpected("an expression"));
            }
            _ => Expr::Name(name),
        })
    }

    fn call(&mut self, name: &str) -> Result<Expr, SoqlError> {
        let name = name.to_lowercase();
        if name == "count" && self.symbol("*") {
            self.expect_symbol(")")?;
            return Ok(Expr::CountAll);
        }
        if self.symbol(")") {
            return Ok(Expr::Call {
                name,
                distinct: false,
                args: Vec::new(),
            });
        }
        let distinct = self.keyword("distinct");
        let args = self.list()?;
        self.expect_symbol(")")?;
        Ok(Expr::Call {
            name,
            distinct,
            args,
        })
    }
}

fn not_if(negated: bool, expr: Expr) -> Expr {
    if negated {
        Expr::Not(Box::new(expr))
    } else {
        expr
    }
}
