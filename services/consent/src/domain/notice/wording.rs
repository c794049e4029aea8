//! The words that come with the program, in the languages of the sign-in pages. A subject names
//! nothing, since it is seen on locked screens; a text names who answers for the use of data, and
//! leaves what it is used for to the page, where the person has signed in.

use super::Kind;

type Words = (Kind, &'static str, &'static str);

/// All words by language.
pub(super) const ALL: &[(&str, &[Words])] = &[("en", EN), ("fr", FR), ("ar", AR)];

const EN: &[Words] = &[
    (
        Kind::AgreementChanged,
        "An agreement about your data has changed",
        "{controller} has changed an agreement about your data that you said yes to.\n\n\
         Your yes does not cover the new text: under it, your data is used only if you say yes \
         again.\n\n\
         Read what changed and answer, or withdraw, here:\n{link}\n\n\
         Reference: {reference}\n\nOn the same page you can switch these messages off.\n",
    ),
    (
        Kind::AgreementTerminated,
        "An agreement about your data has ended",
        "{controller} has ended an agreement about your data that you said yes to. Your data is \
         no longer used under it. You need not do anything.\n\n\
         What you agreed to, and who asked, stays visible here:\n{link}\n\n\
         Reference: {reference}\n\nOn the same page you can switch these messages off.\n",
    ),
    (
        Kind::PolicyChanged,
        "A data policy has changed",
        "{controller} has changed the policy that an agreement about your data rests on.\n\n\
         What you said yes to stays as it was. You will be asked if the agreement itself is to \
         change.\n\n\
         You can read your agreements, and withdraw, here:\n{link}\n\n\
         Reference: {reference}\n\nOn the same page you can switch these messages off.\n",
    ),
    (
        Kind::Expiring,
        "An answer of yours ends soon",
        "Your yes to an agreement of {controller} about your data ends on {date}.\n\n\
         If you want it to go on, answer again here. Otherwise you need not do anything:\n\
         {link}\n\n\
         Reference: {reference}\n\nOn the same page you can switch these messages off.\n",
    ),
    (
        Kind::ReconfirmationDue,
        "Please confirm what was answered for you",
        "Somebody who acted for you said yes to an agreement of {controller} about your data, \
         and may no longer act for you.\n\n\
         That answer stands until you confirm or withdraw it here:\n{link}\n\n\
         Reference: {reference}\n\nOn the same page you can switch these messages off.\n",
    ),
    (
        Kind::DelegationMade,
        "Somebody may act for you",
        "Somebody was entered as having the right to answer for you about the use of your data.\
         \n\n\
         If that is not right, tell the office that serves you. You see who it is, and what they \
         do for you, here:\n{link}\n\n\
         Reference: {reference}\n\nOn the same page you can switch these messages off.\n",
    ),
    (
        Kind::DelegationEnded,
        "Somebody may no longer act for you",
        "The right of somebody to answer for you about the use of your data has ended.\n\n\
         You see what they answered, and can change it, here:\n{link}\n\n\
         Reference: {reference}\n\nOn the same page you can switch these messages off.\n",
    ),
    (
        Kind::AnsweredForYou,
        "Somebody answered for you",
        "Somebody else recorded or changed your answer to an agreement of {controller} about \
         your data.\n\n\
         If it is not what you want, change it here:\n{link}\n\n\
         Reference: {reference}\n\nOn the same page you can switch these messages off.\n",
    ),
];

const FR: &[Words] = &[
    (
        Kind::AgreementChanged,
        "Un accord sur vos données a changé",
        "{controller} a modifié un accord sur vos données que vous aviez accepté.\n\n\
         Votre oui ne vaut pas pour le nouveau texte : vos données ne seront utilisées selon \
         celui-ci que si vous dites oui à nouveau.\n\n\
         Lisez ce qui a changé et répondez, ou retirez votre accord, ici :\n{link}\n\n\
         Référence : {reference}\n\n\
         Sur la même page, vous pouvez désactiver ces messages.\n",
    ),
    (
        Kind::AgreementTerminated,
        "Un accord sur vos données a pris fin",
        "{controller} a mis fin à un accord sur vos données que vous aviez accepté. Vos données \
         ne sont plus utilisées selon cet accord. Vous n'avez rien à faire.\n\n\
         Ce que vous aviez accepté, et qui a demandé vos données, reste visible ici :\n\
         {link}\n\n\
         Référence : {reference}\n\n\
         Sur la même page, vous pouvez désactiver ces messages.\n",
    ),
    (
        Kind::PolicyChanged,
        "Une politique de données a changé",
        "{controller} a modifié la politique sur laquelle repose un accord sur vos données.\n\n\
         Ce que vous avez accepté reste inchangé. Si l'accord lui-même doit changer, la question \
         vous sera posée.\n\n\
         Vous pouvez lire vos accords, et les retirer, ici :\n{link}\n\n\
         Référence : {reference}\n\n\
         Sur la même page, vous pouvez désactiver ces messages.\n",
    ),
    (
        Kind::Expiring,
        "Une de vos réponses prend bientôt fin",
        "Votre oui à un accord de {controller} sur vos données prend fin le {date}.\n\n\
         Si vous voulez le prolonger, répondez à nouveau ici. Sinon, vous n'avez rien à \
         faire :\n{link}\n\n\
         Référence : {reference}\n\n\
         Sur la même page, vous pouvez désactiver ces messages.\n",
    ),
    (
        Kind::ReconfirmationDue,
        "Veuillez confirmer une réponse donnée pour vous",
        "Une personne qui agissait pour vous a dit oui à un accord de {controller} sur vos \
         données, et ne peut plus agir pour vous.\n\n\
         Cette réponse vaut jusqu'à ce que vous la confirmiez ou la retiriez ici :\n{link}\n\n\
         Référence : {reference}\n\n\
         Sur la même page, vous pouvez désactiver ces messages.\n",
    ),
    (
        Kind::DelegationMade,
        "Quelqu'un peut agir pour vous",
        "Quelqu'un a été inscrit comme ayant le droit de répondre pour vous sur l'utilisation de \
         vos données.\n\n\
         Si ce n'est pas exact, dites-le au bureau qui vous sert. Vous voyez de qui il s'agit, \
         et ce qui est fait pour vous, ici :\n{link}\n\n\
         Référence : {reference}\n\n\
         Sur la même page, vous pouvez désactiver ces messages.\n",
    ),
    (
        Kind::DelegationEnded,
        "Quelqu'un ne peut plus agir pour vous",
        "Le droit de quelqu'un de répondre pour vous sur l'utilisation de vos données a pris \
         fin.\n\n\
         Vous voyez ce qui a été répondu, et pouvez le changer, ici :\n{link}\n\n\
         Référence : {reference}\n\n\
         Sur la même page, vous pouvez désactiver ces messages.\n",
    ),
    (
        Kind::AnsweredForYou,
        "Quelqu'un a répondu pour vous",
        "Quelqu'un d'autre a enregistré ou changé votre réponse à un accord de {controller} sur \
         vos données.\n\n\
         Si ce n'est pas ce que vous voulez, changez-la ici :\n{link}\n\n\
         Référence : {reference}\n\n\
         Sur la même page, vous pouvez désactiver ces messages.\n",
    ),
];

const AR: &[Words] = &[
    (
        Kind::AgreementChanged,
        "تغيّر اتفاق بشأن بياناتك",
        "غيّرت الجهة {controller} اتفاقًا بشأن بياناتك كنت قد وافقت عليه.\n\n\
         موافقتك السابقة لا تشمل النص الجديد: لن تُستخدم بياناتك بموجبه إلا إذا وافقت من \
         جديد.\n\n\
         اقرأ ما تغيّر ثم أجب أو اسحب موافقتك هنا:\n{link}\n\n\
         المرجع: {reference}\n\nيمكنك إيقاف هذه الرسائل في الصفحة نفسها.\n",
    ),
    (
        Kind::AgreementTerminated,
        "انتهى اتفاق بشأن بياناتك",
        "أنهت الجهة {controller} اتفاقًا بشأن بياناتك كنت قد وافقت عليه. لم تعد بياناتك تُستخدم \
         بموجبه. لا يلزمك فعل أي شيء.\n\n\
         ما وافقت عليه ومن طلب بياناتك يبقى ظاهرًا هنا:\n{link}\n\n\
         المرجع: {reference}\n\nيمكنك إيقاف هذه الرسائل في الصفحة نفسها.\n",
    ),
    (
        Kind::PolicyChanged,
        "تغيّرت سياسة البيانات",
        "غيّرت الجهة {controller} السياسة التي يستند إليها اتفاق بشأن بياناتك.\n\n\
         ما وافقت عليه يبقى كما كان. ستُسأل إذا كان الاتفاق نفسه سيتغيّر.\n\n\
         يمكنك قراءة اتفاقاتك وسحب موافقتك هنا:\n{link}\n\n\
         المرجع: {reference}\n\nيمكنك إيقاف هذه الرسائل في الصفحة نفسها.\n",
    ),
    (
        Kind::Expiring,
        "إحدى إجاباتك تنتهي قريبًا",
        "موافقتك على اتفاق مع الجهة {controller} بشأن بياناتك تنتهي في {date}.\n\n\
         إذا أردت أن تستمر فأجب من جديد هنا، وإلا فلا يلزمك فعل أي شيء:\n{link}\n\n\
         المرجع: {reference}\n\nيمكنك إيقاف هذه الرسائل في الصفحة نفسها.\n",
    ),
    (
        Kind::ReconfirmationDue,
        "يرجى تأكيد إجابة أُعطيت نيابة عنك",
        "شخص كان يتصرف نيابة عنك وافق على اتفاق مع الجهة {controller} بشأن بياناتك، ولم يعد يحق \
         له التصرف نيابة عنك.\n\n\
         تبقى هذه الإجابة سارية حتى تؤكدها أو تسحبها هنا:\n{link}\n\n\
         المرجع: {reference}\n\nيمكنك إيقاف هذه الرسائل في الصفحة نفسها.\n",
    ),
    (
        Kind::DelegationMade,
        "يمكن لشخص أن يتصرف نيابة عنك",
        "سُجّل شخص على أن له الحق في الإجابة نيابة عنك بشأن استخدام بياناتك.\n\n\
         إذا لم يكن ذلك صحيحًا فأخبر المكتب الذي يخدمك. ترى من هو وما يفعله نيابة عنك هنا:\n\
         {link}\n\n\
         المرجع: {reference}\n\nيمكنك إيقاف هذه الرسائل في الصفحة نفسها.\n",
    ),
    (
        Kind::DelegationEnded,
        "لم يعد شخص يتصرف نيابة عنك",
        "انتهى حق شخص في الإجابة نيابة عنك بشأن استخدام بياناتك.\n\n\
         ترى ما أُجيب به ويمكنك تغييره هنا:\n{link}\n\n\
         المرجع: {reference}\n\nيمكنك إيقاف هذه الرسائل في الصفحة نفسها.\n",
    ),
    (
        Kind::AnsweredForYou,
        "أجاب شخص نيابة عنك",
        "سجّل شخص آخر أو غيّر إجابتك عن اتفاق مع الجهة {controller} بشأن بياناتك.\n\n\
         إذا لم تكن كما تريد فغيّرها هنا:\n{link}\n\n\
         المرجع: {reference}\n\nيمكنك إيقاف هذه الرسائل في الصفحة نفسها.\n",
    ),
];
