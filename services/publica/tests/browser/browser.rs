//! A browser as a person uses it: addresses, clicks, keys, and what is to be seen.

use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use publica_testkit::eventually;
use serde_json::{Value, json};

use crate::webdriver::{ELEMENT, Session};

/// Keys by the code points that the protocol gives them.
pub(crate) const TAB: &str = "\u{E004}";
pub(crate) const SHIFT: &str = "\u{E008}";
pub(crate) const ENTER: &str = "\u{E007}";
pub(crate) const SPACE: &str = " ";
pub(crate) const ESCAPE: &str = "\u{E00C}";

/// What has the focus, in a word.
const FOCUS: &str = "const one = document.activeElement;
    if (!one || one === document.body) return '';
    return one.id ? '#' + one.id : (one.name || one.textContent.trim().slice(0, 60));";

/// The element's own border box sticks out of the page, or its text out of the element.
const TOO_WIDE: &str = "const page = document.documentElement;
    if (page.scrollWidth <= page.clientWidth) return [];
    return [...document.body.querySelectorAll('*')]
        .filter((one) => one.getBoundingClientRect().right > page.clientWidth + 1)
        .map((one) => `${one.tagName} ${one.id} ${one.className}`);";

/// Whether the focus can be seen: an outline of 2 px or more.
const OUTLINE: &str = "const style = getComputedStyle(document.activeElement);
    return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;";

/// A browser of a test's own.
pub(crate) struct Browser {
    session: Session,
    /// Whether pages may run their scripts.
    scripts: AtomicBool,
}

impl Browser {
    /// Starts one.
    pub(crate) async fn open() -> Self {
        let browser = Self {
            session: Session::start().await,
            scripts: AtomicBool::new(true),
        };
        browser.resize(1280, 900).await;
        browser
    }

    /// Lays pages out as on a window of this size.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        let command = "Emulation.setDeviceMetricsOverride";
        self.session.developer(command, size).await;
    }

    /// Runs no script of any page from now on.
    pub(crate) async fn without_scripts(&self) {
        self.scripts.store(false, Ordering::SeqCst);
        self.allow_scripts(false).await;
    }

    async fn allow_scripts(&self, allowed: bool) {
        let command = "Emulation.setScriptExecutionDisabled";
        let value = json!({ "value": !allowed });
        self.session.developer(command, value).await;
    }

    /// Prefers other languages from now on.
    pub(crate) async fn prefer_language(&self, languages: &str) {
        self.session.developer("Network.enable", json!({})).await;
        let headers = json!({ "headers": { "Accept-Language": languages } });
        self.session
            .developer("Network.setExtraHTTPHeaders", headers)
            .await;
    }

    /// Puts what pages hand out into a folder.
    pub(crate) async fn download_to(&self, folder: &std::path::Path) {
        let allow = json!({ "behavior": "allow", "downloadPath": folder });
        self.session
            .developer("Browser.setDownloadBehavior", allow)
            .await;
    }

    /// Goes to an address.
    pub(crate) async fn go(&self, address: &str) {
        let gone = self.session.post("/url", json!({ "url": address })).await;
        gone.unwrap_or_else(|refusal| panic!("{address}: {}", refusal.message));
    }

    /// Goes back, as the button of the browser does.
    pub(crate) async fn back(&self) {
        self.session.post("/back", json!({})).await.unwrap();
    }

    /// Loads the page anew.
    pub(crate) async fn reload(&self) {
        self.session.post("/refresh", json!({})).await.unwrap();
    }

    /// The address of the page.
    pub(crate) async fn address(&self) -> String {
        text(self.session.get("/url").await.unwrap())
    }

    /// The title of the page.
    pub(crate) async fn title(&self) -> String {
        text(self.session.get("/title").await.unwrap())
    }

    /// Evaluates a function body in the page; works without scripts of the page, too.
    pub(crate) async fn eval(&self, script: &str, arguments: Value) -> Value {
        self.try_eval(script, arguments).await.expect("it runs")
    }

    async fn try_eval(&self, script: &str, arguments: Value) -> Result<Value, String> {
        let body = json!({ "script": script, "args": arguments });
        let ran = self.session.post("/execute/sync", body).await;
        ran.map_err(|refusal| format!("{}: {}", refusal.error, refusal.message))
    }

    /// Evaluates a function body whose last argument is called with the result.
    pub(crate) async fn eval_later(&self, script: &str, arguments: Value) -> Value {
        let body = json!({ "script": script, "args": arguments });
        let ran = self.session.post("/execute/async", body).await;
        ran.unwrap_or_else(|refusal| panic!("{}", refusal.message))
    }

    /// The element that a selector finds and that is to be seen, once it is there.
    async fn element(&self, selector: &str) -> String {
        eventually(|| async { self.shown(selector).await }).await
    }

    async fn shown(&self, selector: &str) -> Option<String> {
        let body = json!({ "using": "css selector", "value": selector });
        let found = self.session.post("/element", body).await.ok()?;
        let id = found[ELEMENT].as_str()?.to_owned();
        let shown = self.session.get(&format!("/element/{id}/displayed")).await;
        (shown.ok()? == true).then_some(id)
    }

    /// Whether a selector finds something that is to be seen now.
    pub(crate) async fn sees(&self, selector: &str) -> bool {
        self.shown(selector).await.is_some()
    }

    /// Waits until a selector finds something that is to be seen; gives its text.
    pub(crate) async fn wait(&self, selector: &str) -> String {
        eventually(|| async {
            let id = self.shown(selector).await?;
            let read = self.session.get(&format!("/element/{id}/text")).await;
            read.ok().map(text)
        })
        .await
    }

    /// Waits until a text that a selector finds holds certain words.
    pub(crate) async fn wait_text(&self, selector: &str, words: &str) -> String {
        eventually(|| async {
            let id = self.shown(selector).await?;
            let read = self.session.get(&format!("/element/{id}/text")).await;
            let read = text(read.ok()?);
            read.contains(words).then_some(read)
        })
        .await
    }

    /// Waits until the address holds certain words.
    pub(crate) async fn wait_address(&self, words: &str) -> String {
        eventually(|| async {
            let address = self.address().await;
            address.contains(words).then_some(address)
        })
        .await
    }

    /// Waits until a script of the page's own world says so.
    pub(crate) async fn wait_that(&self, expression: &str) {
        let script = format!("return Boolean({expression});");
        eventually(|| async {
            let said = self.try_eval(&script, json!([])).await;
            (said.ok()? == true).then_some(())
        })
        .await;
    }

    /// Clicks.
    pub(crate) async fn click(&self, selector: &str) {
        eventually(|| async {
            let id = self.shown(selector).await?;
            let path = format!("/element/{id}/click");
            let clicked = self.session.post(&path, json!({})).await;
            clicked.ok().map(drop)
        })
        .await;
    }

    /// Replaces what stands in a field.
    pub(crate) async fn fill(&self, selector: &str, words: &str) {
        let id = self.element(selector).await;
        let path = format!("/element/{id}/clear");
        self.session.post(&path, json!({})).await.unwrap();
        let path = format!("/element/{id}/value");
        let body = json!({ "text": words });
        self.session.post(&path, body).await.unwrap();
    }

    /// Presses keys, one after the other, wherever the focus is.
    pub(crate) async fn press(&self, keys: &str) {
        let strokes: Vec<Value> = keys
            .chars()
            .map(String::from)
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        self.act(strokes).await;
    }

    /// Goes back one place in the order of the page.
    pub(crate) async fn press_back_tab(&self) {
        let stroke = |kind: &str, key: &str| json!({ "type": kind, "value": key });
        self.act(vec![
            stroke("keyDown", SHIFT),
            stroke("keyDown", TAB),
            stroke("keyUp", TAB),
            stroke("keyUp", SHIFT),
        ])
        .await;
    }

    async fn act(&self, strokes: Vec<Value>) {
        let body = json!({ "actions": [{ "type": "key", "id": "keys", "actions": strokes }] });
        self.session.post("/actions", body).await.unwrap();
    }

    /// What has the focus: its id, or its name, or its text.
    pub(crate) async fn focus(&self) -> String {
        text(self.eval(FOCUS, json!([])).await)
    }

    /// Waits until the focus is where it should be.
    pub(crate) async fn wait_focus(&self, place: &str) {
        eventually(|| async {
            let focus = self.try_eval(FOCUS, json!([])).await.ok()?;
            (focus == place).then_some(())
        })
        .await;
    }

    /// Whether one can see where the focus is.
    pub(crate) async fn focus_shows(&self) -> bool {
        self.eval(OUTLINE, json!([])).await == true
    }

    /// Presses Tab until the focus is at a place, and notes the places on the way, all of which
    /// can be seen.
    pub(crate) async fn tab_to(&self, place: &str) -> Vec<String> {
        const MOST: usize = 60;
        let mut way = Vec::new();
        for _ in 0..MOST {
            self.press(TAB).await;
            let focus = self.focus().await;
            if !focus.is_empty() {
                assert!(self.focus_shows().await, "the focus on {focus} is not seen");
            }
            way.push(focus.clone());
            if focus == place {
                return way;
            }
        }
        panic!("Tab does not come to {place}, but to {way:?}");
    }

    /// Elements that make the page wider than the window; none, if it need not be scrolled
    /// sideways.
    pub(crate) async fn too_wide(&self) -> Vec<String> {
        let found = self.eval(TOO_WIDE, json!([])).await;
        serde_json::from_value(found).unwrap()
    }

    /// A picture of the whole page, kept for a person to look at.
    pub(crate) async fn picture(&self, name: &str) {
        let whole = json!({ "captureBeyondViewport": true, "format": "png" });
        let taken = self.session.developer("Page.captureScreenshot", whole);
        let taken = taken.await;
        let bytes = STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), bytes).unwrap();
    }

    /// The page fits a narrow and a wide window, and axe finds nothing to complain of in either.
    pub(crate) async fn check(&self, name: &str) {
        let scripts = self.scripts.load(Ordering::SeqCst);
        if !scripts {
            // The page was laid out without its scripts, and runs none later; axe itself needs
            // to be called back.
            self.allow_scripts(true).await;
        }
        for (width, height) in [(320, 800), (1280, 900)] {
            self.resize(width, height).await;
            let wide = self.too_wide().await;
            assert!(wide.is_empty(), "{name} at {width} px: {wide:?}");
            self.picture(&format!("{name}-{width}")).await;
            crate::axe::check(self, &format!("{name} at {width} px")).await;
        }
        self.allow_scripts(scripts).await;
    }
}

fn text(value: Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
