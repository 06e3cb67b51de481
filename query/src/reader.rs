//! Text to statements, as PostgreSQL reads it.
//!
//! Promises: what is read means what PostgreSQL means by it, or is refused as it is planned. Of the
//! library's rules those are used that hold to this; one that answers NULL for a query among the
//! columns, one that looks names up in the schema `public` alone, one that shows columns under other
//! names, and those that take arrays apart by their commas, are not among them.

use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use datafusion_postgres::datafusion_pg_catalog::sql::rules::{
    CurrentUserVariableToSessionUserFunctionCall, FixVersionColumnName,
    ResolveUnqualifiedIdentifier, RewritePgCatalogOperator, SqlStatementRewriteRule,
    StripCallableQualifier, StripCollate,
};

/// Reads statements; has no state.
#[derive(Debug)]
pub(crate) struct Reader {
    rules: [Box<dyn SqlStatementRewriteRule>; 6],
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self {
            rules: [
                Box::new(ResolveUnqualifiedIdentifier),
                Box::new(StripCallableQualifier),
                Box::new(CurrentUserVariableToSessionUserFunctionCall),
                Box::new(StripCollate),
                Box::new(RewritePgCatalogOperator),
                Box::new(FixVersionColumnName),
            ],
        }
    }

    /// The words of a text.
    pub(crate) fn words(sql: &str) -> Result<Vec<TokenWithSpan>, ParserError> {
        Ok(Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location()?)
    }

    /// The statements that words are.
    pub(crate) fn read(
        &self,
        mut words: Vec<TokenWithSpan>,
    ) -> Result<Vec<Statement>, ParserError> {
        abort_is_rollback(&mut words);
        let parser = Parser::new(&PostgreSqlDialect {}).with_tokens_with_locations(words);
        let statements = { parser }.parse_statements()?;
        let rewritten = statements.into_iter().map(|statement| {
            self.rules.iter().fold(statement, |statement, rule| rule.rewrite(statement))
        });
        Ok(rewritten.collect())
    }
}

/// `ABORT` is PostgreSQL's other word for `ROLLBACK`.
fn abort_is_rollback(words: &mut [TokenWithSpan]) {
    let mut begins = true;
    for word in words {
        match &word.token {
            Token::Whitespace(_) => continue,
            Token::Word(first) if begins && first.keyword == Keyword::ABORT => {
                word.token = Token::make_keyword("ROLLBACK");
            }
            _ => {}
        }
        begins = word.token == Token::SemiColon;
    }
}
