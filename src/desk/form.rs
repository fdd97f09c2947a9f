//! The form on a proposal's page.

use zeroize::Zeroizing;

use crate::boundary::Word;

/// The greatest length of a form. A name has at most 60 bytes, a code 64, and each byte at most three characters.
pub(crate) const MAX_FORM_LEN: usize = 2_048;

/// What a user filled in.
pub(crate) struct Form {
    /// The token that came with the page.
    pub(crate) token: String,
    /// The user's name.
    pub(crate) user: Zeroizing<String>,
    /// The code, without blanks.
    pub(crate) code: Zeroizing<String>,
    /// Which button was pressed.
    pub(crate) word: Word,
}

impl Form {
    /// Reads a form that has each field once and no other.
    pub(crate) fn parse(body: &[u8]) -> Option<Form> {
        let [mut token, mut user, mut code, mut word] = [const { None }; 4];
        for (name, value) in form_urlencoded::parse(body) {
            let value = Zeroizing::new(value.into_owned());
            let place = match &*name {
                "token" => &mut token,
                "user" => &mut user,
                "code" => &mut code,
                "word" => &mut word,
                _ => return None,
            };
            if place.replace(value).is_some() {
                return None;
            }
        }
        let word = match word?.as_str() {
            "approve" => Word::Approve,
            "refuse" => Word::Refuse,
            _ => return None,
        };
        // An app shows a code in two groups, and some people type the blank.
        let mut without_blanks = Zeroizing::new(String::with_capacity(code.as_ref()?.len()));
        without_blanks.extend(code?.chars().filter(|character| *character != ' '));
        Some(Form { token: token?.to_string(), user: user?, code: without_blanks, word })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Option<(String, String, String, Word)> {
        let form = Form::parse(body.as_bytes())?;
        Some((form.token.clone(), form.user.to_string(), form.code.to_string(), form.word))
    }

    #[test]
    fn a_form_has_each_field_once_and_a_blank_in_a_code_is_none_of_it() {
        let read = parse("token=ab&user=J%C3%BCrgen+x&code=123+456&word=approve");
        assert_eq!(read, Some(("ab".into(), "Jürgen x".into(), "123456".into(), Word::Approve)));
        assert!(parse("token=&user=&code=&word=refuse").is_some_and(|form| form.3 == Word::Refuse));
        for bad in [
            "",
            "token=a&user=b&code=1",
            "token=a&user=b&code=1&word=Approve",
            "token=a&user=b&code=1&word=approve&word=refuse",
            "token=a&user=b&user=c&code=1&word=approve",
            "token=a&user=b&code=1&word=approve&more=1",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
